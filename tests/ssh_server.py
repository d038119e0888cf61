"""An ssh server on loopback for tests: one key gets in, commands run by sh in a home of its own.

ssh_server.py HOST_KEY AUTHORIZED_KEYS HOME PATH PYTHONPATH: prints its port, serves until killed.
What the client sends reaches the command as it comes, and what the command says goes back so.
"""

import asyncio
import os
import sys

import asyncssh

HOST_KEY, AUTHORIZED, HOME, PATH, PYTHONPATH = sys.argv[1:]


async def handle(process: asyncssh.SSHServerProcess) -> None:
    environment = {**os.environ, "HOME": HOME, "PATH": PATH, "PYTHONPATH": PYTHONPATH}
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *("sh", "-c", process.command or "true"),
        cwd=HOME,
        env=environment,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    await process.redirect(
        stdin=child.stdin,
        stdout=child.stdout,
        stderr=child.stderr,
        send_eof=False,  # the end of one is not that of the other
    )
    code = await child.wait()
    await process.stdout.drain()
    process.exit(code)


async def main() -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[HOST_KEY],
        authorized_client_keys=AUTHORIZED,
        process_factory=handle,
        encoding=None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.wait_closed()


asyncio.run(main())
