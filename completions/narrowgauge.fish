# Completes `python -m` with Narrowgauge's commands. Written by `make command-line`.
function __narrowgauge_words
    switch "$argv[1]"
        case ''
            string split -- ' ' 'training.train training.export training.evaluate training.table training.sweep hw_build.flow deploy'
        case 'training.train'
            string split -- ' ' '--help --out --overwrite --data-dir --data --train-samples --test-samples --epochs --seed --json'
        case 'training.export'
            string split -- ' ' '--help --data-dir --json'
        case 'training.evaluate'
            string split -- ' ' '--help --data-dir --exact --out --json'
        case 'training.table'
            string split -- ' ' '--help --out --plot --json'
        case 'training.sweep'
            string split -- ' ' '--help --out --data-dir --overwrite --workers --dask --json'
        case 'hw_build.flow'
            string split -- ' ' 'run build status show compare ip bundle-finn uart finn --help'
        case 'hw_build.flow run'
            string split -- ' ' '--help --board --clock-mhz --target-fps --fit --oversize --fifo --writable --onto --folding --inputs --input-type --output --until --out --seed --trace --synthesis --no-synthesis --json --vivado --layer-checkpoints --backend'
        case 'hw_build.flow run --until'
            string split -- ' ' 'graph golden folding rtl simulation synthesis bitstream bundle board report'
        case 'hw_build.flow run --backend'
            string split -- ' ' 'rtl finn'
        case 'hw_build.flow build'
            string split -- ' ' '--help --vivado --workers --dask --json'
        case 'hw_build.flow status'
            string split -- ' ' '--help --json'
        case 'hw_build.flow show'
            string split -- ' ' '--help --out --netron --json'
        case 'hw_build.flow show --netron'
            string split -- ' ' 'qonnx finn'
        case 'hw_build.flow compare'
            string split -- ' ' '--help --out --json'
        case 'hw_build.flow ip'
            string split -- ' ' '--help --json --out'
        case 'hw_build.flow bundle-finn'
            string split -- ' ' '--help --json --board --inputs --outputs --clock-mhz --out'
        case 'hw_build.flow bundle-finn --board'
            string split -- ' ' 'kv260 pynq_z1 pynq_z2 ultra96 zcu104'
        case 'hw_build.flow uart'
            string split -- ' ' '--help --json --port --frames'
        case 'hw_build.flow finn'
            string split -- ' ' '--help --json'
        case 'deploy'
            string split -- ' ' 'run measure push pull report --help'
        case 'deploy run'
            string split -- ' ' '--help --run --trust --host --ssh --board --rtl --model --python --timeout-s --json --integers --out'
        case 'deploy measure'
            string split -- ' ' '--help --run --trust --host --ssh --board --rtl --model --python --timeout-s --json --log --batches --repeats'
        case 'deploy push'
            string split -- ' ' '--help --run --trust --host --ssh --json'
        case 'deploy pull'
            string split -- ' ' '--help --run --trust --host --ssh --json --out'
        case 'deploy report'
            string split -- ' ' '--help --json'
        case '*'
            return 1
    end
end

function __narrowgauge
    set -l tokens (commandline -opc)
    test (count $tokens) -ge 2; and test "$tokens[2]" = -m; or return
    if test (count $tokens) -eq 2
        __narrowgauge_words ""
        return
    end
    set -l key $tokens[3]
    if test (count $tokens) -ge 4; and __narrowgauge_words "$key $tokens[4]" >/dev/null
        set key "$key $tokens[4]"
    end
    __narrowgauge_words "$key $tokens[-1]"; or __narrowgauge_words $key
end
complete -c python -a '(__narrowgauge)'
complete -c python3 -a '(__narrowgauge)'
