"""
Show the provider at work: a sandbox in place of WATI, a real Airflow, example DAGs that message customers and read back.

``make demo`` runs them once and tells what arrived, and how far the message about each order has come; ``make airflow`` leaves Airflow's
UI and the sandbox's page running, and what one writes there as a customer starts a DAG.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
TOKEN, TENANT = "sandbox-token", "100001"
DAG, FUNNEL_DAG = "wati_orders_from_warehouse", "wati_funnel"
#: Started by messages of customers.
ROUTING_DAG = "wati_keyword_routing"
#: What the sandbox posts to Airflow.
DEFAULT_EVENTS = (
    "message",
    "templateMessageSent_v2",
    "templateMessageFailed",
    "sentMessageDELIVERED_v2",
    "sentMessageREAD_v2",
)
#: Statuses of a message that has reached the phone.
ARRIVED = {"delivered", "read", "replied"}
STAGES = ("sent", "delivered", "read", "replied", "failed")
PATIENCE_SECONDS = 60

#: Order, phone as the shop has it, customer, status.
ORDERS = [
    ("1001", "+852 6431 8721", "Ada Wong", "packed"),
    ("1002", "+91 98765 43210", "Ravi Kumar", "on its way"),
    ("1003", "+55 11 98765-4321", "Beatriz Souza", "delivered"),
    ("1004", "+44 (0)7700 900123", "Tom Baker", "waiting for you at the shop"),
    ("1005", "6591234567", "Mei Lin 🌸", "packed"),
    # Nobody has WhatsApp under this number.
    ("1006", "+1 202 513 1026", "Noor Haddad", "packed"),
]
#: As WATI has their numbers.
PHONES = ("85264318721", "919876543210", "5511987654321", "447700900123", "6591234567", "12025131026")
#: What customers answer, by phone number.
ANSWERS = {"919876543210": "Thank you!", "5511987654321": "Obrigada 🙏"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stay", action="store_true", help="run Airflow's UI until Ctrl-C")
    stay = parser.parse_args().stay
    home = ROOT / (".airflow" if stay else ".demo")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    write_orders(home / "shop.db")
    # Ctrl-C and `kill` both end the processes that were started here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with sandbox(home, port=free_port(8765)) as url, contextlib.suppress(KeyboardInterrupt):
        environment = airflow_environment(home, url)
        say(f"Setting up Airflow in {home.relative_to(ROOT)} ...")
        airflow(environment, home, "db", "migrate")
        return show_airflow(environment, home, url) if stay else run_once(environment, home, url)
    return 0


def run_once(environment: dict[str, str], home: Path, url: str) -> int:
    if not run_dag(environment, home, DAG):
        return 1
    say("Waiting for the messages to reach the phones ...\n")
    messages = wait_for_arrival(url)
    arrived = show_messages(messages)
    outcomes, deliveries = read_back(home / "shop.db")
    print(f"\n{arrived} of {len(ORDERS)} customers have their message.")
    print(f"Written back to the shop's database: {outcomes} outcomes, {deliveries} deliveries.\n")
    let_customers_read_and_answer(url)
    if not run_dag(environment, home, FUNNEL_DAG):
        return 1
    is_true = show_funnel(home / "shop.db", url)
    print("\nWhere to look:")
    print(f"  the DAGs      example_dags/{DAG}.py, example_dags/{FUNNEL_DAG}.py")
    print(f"  the DAG runs  {home.relative_to(ROOT)}/airflow.log")
    print(f"  the warehouse {home.relative_to(ROOT)}/shop.db")
    if sys.stdin.isatty():
        print(f"  the sandbox   {url}/ (conversations and campaigns, as WATI would have them)")
        print("\nCtrl-C stops the sandbox. `make airflow` starts Airflow's UI to look around in.")
        while True:
            time.sleep(3600)
    print("\nNothing is left running. `make airflow` starts the sandbox and Airflow's UI to look around in.")
    has_all = arrived == len(ORDERS) - 1 and outcomes == deliveries == len(ORDERS)
    return 0 if has_all and is_true else 1


def run_dag(environment: dict[str, str], home: Path, dag: str) -> bool:
    say(f"Running the DAG {dag} (example_dags/{dag}.py) ...")
    if airflow(environment, home, "dags", "test", dag) == 0:
        return True
    say(f"The DAG run failed. Its log is {home.relative_to(ROOT)}/airflow.log")
    return False


def let_customers_read_and_answer(url: str) -> None:
    """Put the sandbox's clock forward, so that all have read who are going to, and write what customers answer."""
    control(url, "/clock", {"advance": 60})
    names = dict(zip(PHONES, (name for _, _, name, _ in ORDERS), strict=True))
    for phone, text in ANSWERS.items():
        control(url, "/inbound", {"phone": phone, "text": text})
        print(f"  {names[phone]} answers: {text}")
    print()


def show_funnel(database: Path, url: str) -> bool:
    """Show how far the message about each order has come; return whether it is what the sandbox says."""
    with contextlib.closing(sqlite3.connect(database)) as shop:
        flags = ", ".join(f"is_{stage}" for stage in STAGES)
        rows = shop.execute(
            f"SELECT order_id, status, reason, {flags} FROM order_funnel ORDER BY order_id"
        ).fetchall()
    print("\nThe funnel, from the table order_funnel of the warehouse:\n")
    print(f"  {'order':<10}" + "".join(f"{stage:>11}" for stage in STAGES))
    for order_id, _, reason, *reached in rows:
        marks = "".join(f"{'yes' if flag else '-':>11}" for flag in reached)
        print(f"  {order_id:<10}{marks}  {reason or ''}".rstrip())
    sums = [sum(column) for column in zip(*(row[3:] for row in rows), strict=True)]
    print(f"  {len(rows)} orders  " + "".join(f"{count:>11}" for count in sums))
    orders = [order_id for order_id, *_ in ORDERS]
    truth = {
        order: last_template(url, phone)["status"].lower()
        for order, phone in zip(orders, PHONES, strict=True)
    }
    return {order_id: status for order_id, status, *_ in rows} == truth


def show_airflow(environment: dict[str, str], home: Path, url: str) -> int:
    address = f"http://127.0.0.1:{environment['AIRFLOW__API__PORT']}"
    secret = secrets.token_hex(24)
    # The receiver finds connections in the database, and the connection form shows them.
    for conn_id, more in (("wati_default", {"extra": {"webhook_secret": secret}}), ("warehouse", {})):
        connection = json.loads(environment.pop(f"AIRFLOW_CONN_{conn_id.upper()}")) | more
        airflow(environment, home, "connections", "add", conn_id, "--conn-json", json.dumps(connection))
    environment["AIRFLOW__WATI__RECEIVER_URL"] = address
    subscribe(url, f"{address}/wati/webhooks/wati_default/{secret}")
    say("Starting Airflow; that takes about half a minute ...")
    with open(home / "airflow.log", "ab") as log:
        standalone = [sys.executable, "-m", "airflow", "standalone"]
        with process(standalone, environment, log) as running:
            wait_for_airflow(running, address)
            print(f"\n  Airflow       {address}/ (no password)")
            print(f"  the sandbox   {url}/")
            print(f"  the log       {home.relative_to(ROOT)}/airflow.log")
            print(f"\nStart {DAG} with the play button, and look at the sandbox.")
            print("Or write there as a customer, for example: Where is my invoice? That starts")
            print(f"{ROUTING_DAG}, which gives the customer to the team Billing.")
            print("\nCtrl-C stops both.", flush=True)
            open_in_browser(f"{url}/", f"{address}/")
            running.wait()
    say(f"Airflow has stopped by itself; the log says why: {home.relative_to(ROOT)}/airflow.log")
    return 1


def subscribe(url: str, receiver: str) -> None:
    """Have the sandbox post what customers do to Airflow, as WatiSubscribeWebhookOperator would have WATI do it."""
    webhook = {"url": receiver, "eventTypes": list(DEFAULT_EVENTS), "status": 1}
    post(f"{url}/{TENANT}/api/v2/webhookEndpoints", [webhook], TOKEN)


def wait_for_airflow(running: subprocess.Popen[bytes], address: str) -> None:
    """Wait until Airflow answers and knows the DAG that messages start, and switch that one on: a new DAG is paused."""
    while running.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            with urllib.request.urlopen(f"{address}/auth/token", timeout=5) as response:
                token = json.load(response)["access_token"]
            post(f"{address}/api/v2/dags/{ROUTING_DAG}", {"is_paused": False}, token, method="PATCH")
            return
        time.sleep(0.5)


def open_in_browser(*addresses: str) -> None:
    """Open the pages where somebody sits in front of this machine; in a terminal alone, the addresses are enough."""
    has_screen = sys.platform in ("darwin", "win32") or any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))
    )
    if sys.stdin.isatty() and has_screen:
        for address in addresses:
            webbrowser.open(address)


def write_orders(database: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    with contextlib.closing(sqlite3.connect(database)) as shop, shop:
        shop.execute("CREATE TABLE customers (customer_id TEXT, phone TEXT, full_name TEXT, tier TEXT)")
        shop.execute(
            "CREATE TABLE orders "
            "(order_id TEXT, customer_id TEXT, phone TEXT, name TEXT, status TEXT, ordered_on TEXT)"
        )
        for (order_id, written, name, status), phone in zip(ORDERS, PHONES, strict=True):
            shop.execute("INSERT INTO customers VALUES (?, ?, ?, 'gold')", (phone, written, name))
            order = (order_id, phone, phone, name, status, today)
            shop.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", order)
        # Old orders are left out.
        long_ago = ("0007", PHONES[0], PHONES[0], ORDERS[0][2], "delivered", "2020-01-01")
        shop.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?)", long_ago)


def read_back(database: Path) -> tuple[int, int]:
    """Count the outcomes and the deliveries that the DAG has written to the database."""
    with contextlib.closing(sqlite3.connect(database)) as shop:
        [(outcomes,)] = shop.execute("SELECT COUNT(*) FROM order_messages WHERE status = 'accepted'")
        [(deliveries,)] = shop.execute("SELECT COUNT(*) FROM wati_campaign_recipients")
    return outcomes, deliveries


def airflow_environment(home: Path, url: str) -> dict[str, str]:
    connection = {"conn_type": "wati", "host": f"{url}/{TENANT}", "password": TOKEN}
    return {
        **os.environ,
        # `airflow standalone` starts its parts by name.
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # Only this machine: there is no password.
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(free_port(8080)),
        "AIRFLOW_CONN_WATI_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(home / "shop.db")}),
        "WATI_DEMO_DATABASE": str(home / "shop.db"),
        "WATI_DEMO_STATE": str(home / "state"),
    }


def airflow(environment: dict[str, str], home: Path, *command: str) -> int:
    with open(home / "airflow.log", "ab") as log:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *command], env=environment, stdout=log, stderr=log, check=False
        ).returncode


@contextlib.contextmanager
def sandbox(home: Path, port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "airflow_provider_wati.sandbox", "--port", str(port), "--token", TOKEN]
    # Ten times faster than usual, so that "delivered" comes soon.
    command += ["--tenant", TENANT, "--speed", "10"]
    with open(home / "sandbox.log", "wb") as log, process(command, dict(os.environ), log) as running:
        while running.poll() is None:
            with contextlib.suppress(OSError):
                ask(url, "/_sandbox/state")
                break
            time.sleep(0.1)
        else:
            sys.exit((home / "sandbox.log").read_text())
        say(f"The sandbox stands in for WATI at {url}/")
        yield url


@contextlib.contextmanager
def process(
    command: list[str], environment: dict[str, str], log: IO[Any]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process and all that it starts, until the block is left."""
    running = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
        try:
            running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)


def free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free port")


def ask(url: str, path: str) -> Any:
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


def control(url: str, path: str, body: object) -> None:
    post(f"{url}/_sandbox{path}", body)


def post(url: str, body: object, token: str | None = None, *, method: str = "POST") -> None:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    urllib.request.urlopen(request, timeout=30).close()


def wait_for_arrival(url: str) -> dict[str, dict[str, str]]:
    """Ask WATI's own API for the last message to each customer, until all have arrived or failed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        messages = {phone: last_template(url, phone) for phone in PHONES}
        if time.monotonic() > deadline or all(
            message.get("status", "").lower() in {*ARRIVED, "failed"} for message in messages.values()
        ):
            return messages
        time.sleep(0.5)


def last_template(url: str, phone: str) -> dict[str, str]:
    page = ask(url, f"/api/ext/v3/conversations/{phone}/messages?page_number=1&page_size=100")
    sent = [message for message in page["message_list"] if message.get("owner")]
    return max(sent, key=lambda message: message["created"], default={})


def show_messages(messages: dict[str, dict[str, str]]) -> int:
    arrived = 0
    for phone, (_, _, name, _) in zip(PHONES, ORDERS, strict=True):
        message = messages[phone]
        status = message.get("status", "nothing arrived").lower()
        arrived += status in ARRIVED
        print(f"  {name:<14} +{phone:<14} {status:<10} {message.get('text', '')}")
    return arrived


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
