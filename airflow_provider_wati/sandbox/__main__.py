"""Start a sandbox: ``python -m airflow_provider_wati.sandbox``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.app import create_app
from airflow_provider_wati.sandbox.callers import is_loopback
from airflow_provider_wati.sandbox.saving.data_file import DataFile, DataFileError
from airflow_provider_wati.sandbox.saving.saver import load
from airflow_provider_wati.sandbox.scenarios import BUILT_IN, ScenarioError, load_scenario
from airflow_provider_wati.sandbox.server import LOOPBACK, build_server, listen
from airflow_provider_wati.sandbox.settings import PLANS, Settings
from airflow_provider_wati.sandbox.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT_PORT = 8765
_DEFAULT_TOKEN = "sandbox-token"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    settings = Settings(
        tenant=options.tenant,
        plan=options.plan,
        speed=options.speed,
        webhooks_to_any_host=options.webhooks_to_any_host,
    )
    try:
        scenario = load_scenario(options.scenario) if options.scenario else None
    except ScenarioError as error:
        print(error, file=sys.stderr)
        return 1
    workspace = Workspace(options.token, settings, scenario)
    for token in options.scoped_token:
        name, _, scopes = token.partition("=")
        workspace.add_token(name, filter(None, scopes.split(",")))
    with contextlib.ExitStack() as stack:
        data = None
        if options.data == "":
            print("--data needs the name of a file.", file=sys.stderr)
            return 1
        if options.data:
            try:
                data = stack.enter_context(DataFile(Path(options.data)))
                load(workspace, data)
            except DataFileError as error:
                print(error, file=sys.stderr)
                return 1
            except OSError as error:
                print(f"{options.data} cannot be written: {error.strerror}.", file=sys.stderr)
                return 1
        return _serve(options, workspace, data)


def _serve(options: argparse.Namespace, workspace: Workspace, data: DataFile | None) -> int:
    try:
        listening = listen(options.host, options.port)
    except OSError as error:
        print(f"Cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    with listening:
        _welcome(options.host, listening.getsockname()[1], options.tenant, options.token)
        # Ctrl-C comes back as an exception after uvicorn has shut down in an orderly way.
        with contextlib.suppress(KeyboardInterrupt):
            app = create_app(
                workspace, verbose=options.verbose, allowed_hosts=(options.host, *options.allow_host)
            )
            build_server(app, workspace, data).run(sockets=[listening])
    print("Sandbox stopped.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_wati.sandbox",
        description="A local WATI with the same API. Nothing that is sent to it reaches a real phone.",
    )
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help="0 takes any free port (default: %(default)s)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which it may be called besides localhost and its address; may be repeated",
    )
    parser.add_argument("--token", default=_DEFAULT_TOKEN, help="access token (default: %(default)s)")
    parser.add_argument(
        "--scoped-token",
        action="append",
        default=[],
        metavar="TOKEN=SCOPE,SCOPE",
        help="one more token that has only these scopes; may be repeated",
    )
    parser.add_argument("--tenant", default="100001", help="workspace id (default: %(default)s)")
    parser.add_argument(
        "--plan", choices=PLANS, help="hold callers to this plan's limits (default: no limits)"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="how many times faster statuses advance (default: 1)"
    )
    parser.add_argument(
        "--scenario",
        metavar=f"{'|'.join(BUILT_IN)}|FILE.json",
        help="what it contains in place of a small shop with seven customers",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="keep contacts, messages and campaigns in this file over restarts (default: in memory only)",
    )
    parser.add_argument(
        "--webhooks-to-any-host",
        action="store_true",
        help="send webhooks to other machines too (default: to this machine only)",
    )
    parser.add_argument("--verbose", action="store_true", help="log one line for each API request")
    return parser


def _welcome(host: str, port: int, tenant: str, token: str) -> None:
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(
        f"WATI sandbox\n"
        f"  Page          {url}/\n"
        f"  API endpoint  {url}/{tenant}\n"
        f"  Access token  {token}\n"
        f"Try it:\n"
        f"  curl -H 'Authorization: Bearer {token}' "
        f"'{url}/api/ext/v3/contacts?page_number=1&page_size=10'\n"
        f"Ctrl-C stops it.",
        flush=True,
    )
    if not is_loopback(host):
        print(
            f"WARNING: {host} can be reached from other machines, and the page needs no token.",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
