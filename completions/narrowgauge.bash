# Completes `python -m` with Narrowgauge's commands. Written by `make command-line`.
_narrowgauge_words() {
    case $1 in
    '') echo 'training.train training.export training.evaluate training.table training.sweep hw_build.flow deploy' ;;
    'training.train') echo '--help --out --overwrite --data-dir --data --train-samples --test-samples --epochs --seed --json' ;;
    'training.export') echo '--help --data-dir --json' ;;
    'training.evaluate') echo '--help --data-dir --exact --out --json' ;;
    'training.table') echo '--help --out --plot --json' ;;
    'training.sweep') echo '--help --out --data-dir --overwrite --workers --dask --json' ;;
    'hw_build.flow') echo 'run build status show compare ip bundle-finn uart finn --help' ;;
    'hw_build.flow run') echo '--help --board --clock-mhz --target-fps --fit --oversize --fifo --writable --onto --folding --inputs --input-type --output --until --out --seed --trace --synthesis --no-synthesis --json --vivado --layer-checkpoints --backend' ;;
    'hw_build.flow run --until') echo 'graph golden folding rtl simulation synthesis bitstream bundle board report' ;;
    'hw_build.flow run --backend') echo 'rtl finn' ;;
    'hw_build.flow build') echo '--help --vivado --workers --dask --json' ;;
    'hw_build.flow status') echo '--help --json' ;;
    'hw_build.flow show') echo '--help --out --netron --json' ;;
    'hw_build.flow show --netron') echo 'qonnx finn' ;;
    'hw_build.flow compare') echo '--help --out --json' ;;
    'hw_build.flow ip') echo '--help --json --out' ;;
    'hw_build.flow bundle-finn') echo '--help --json --board --inputs --outputs --clock-mhz --out' ;;
    'hw_build.flow bundle-finn --board') echo 'kv260 pynq_z1 pynq_z2 ultra96 zcu104' ;;
    'hw_build.flow uart') echo '--help --json --port --frames' ;;
    'hw_build.flow finn') echo '--help --json' ;;
    'deploy') echo 'run measure push pull report --help' ;;
    'deploy run') echo '--help --run --trust --host --ssh --board --rtl --model --python --timeout-s --json --integers --out' ;;
    'deploy measure') echo '--help --run --trust --host --ssh --board --rtl --model --python --timeout-s --json --log --batches --repeats' ;;
    'deploy push') echo '--help --run --trust --host --ssh --json' ;;
    'deploy pull') echo '--help --run --trust --host --ssh --json --out' ;;
    'deploy report') echo '--help --json' ;;
    *) return 1 ;;
    esac
}

_narrowgauge() {
    COMPREPLY=()
    [[ ${COMP_WORDS[1]} == -m && $COMP_CWORD -ge 2 ]] || return 0
    local key=${COMP_WORDS[2]} before=${COMP_WORDS[COMP_CWORD - 1]} words
    if ((COMP_CWORD == 2)); then
        words=$(_narrowgauge_words "")
    else
        [[ $COMP_CWORD -gt 3 ]] && _narrowgauge_words "$key ${COMP_WORDS[3]}" >/dev/null &&
            key+=" ${COMP_WORDS[3]}"
        words=$(_narrowgauge_words "$key $before") || words=$(_narrowgauge_words "$key")
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -o default -F _narrowgauge python python3
