"""
Send more than text: files, buttons and a list, fetch the file of a message, start a chatbot.

The customer has to have written within the last 24 hours. Airflow's workers share no disk, so give a directory that all
of them reach, such as `s3://bucket/receipts`; the default fits one machine. The buttons' and the list's answers arrive as
messages of the customer. Chatbots need WATI's plan Pro or Business.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import ObjectStoragePath, Param, chain, dag, task

from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.messages import (
    WatiGetMediaOperator,
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendListOperator,
)


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phone": Param("12025550143", type="string", title="Phone number: digits, country code first"),
        "catalogue": Param(
            "https://example.com/catalogue.pdf", type="string", title="File that WATI fetches"
        ),
        "directory": Param("file:///tmp/wati-example", type="string", title="Where files are kept"),
        "chatbot": Param("Order status bot", type="string", title="Chatbot, as it is called in WATI"),
    },
)
def wati_rich_messages():
    # [START send_file_url]
    send_catalogue = WatiSendFileUrlOperator(
        task_id="send_catalogue",
        target="{{ params.phone }}",
        file_url="{{ params.catalogue }}",
        caption="Our catalogue",
    )
    # [END send_file_url]

    @task
    def write_receipt(params: dict[str, Any]) -> str:
        receipt = ObjectStoragePath(params["directory"]) / "receipt-1001.txt"
        receipt.parent.mkdir(parents=True, exist_ok=True)
        receipt.write_text("Order 1001, paid\n")
        return str(receipt)

    # [START send_file]
    send_receipt = WatiSendFileOperator(
        task_id="send_receipt",
        target="{{ params.phone }}",
        path=write_receipt(),
        caption="Your receipt",
    )
    # [END send_file]
    # [START get_media]
    save_media = WatiGetMediaOperator(
        task_id="save_media",
        message_id="{{ ti.xcom_pull(task_ids='send_receipt')['id'] }}",
        destination="{{ params.directory }}/fetched/",
    )
    # [END get_media]
    # [START send_buttons]
    ask_delivery = WatiSendButtonsOperator(
        task_id="ask_delivery",
        target="{{ params.phone }}",
        header="Order 1001",
        body="Shall we deliver today?",
        buttons=["Yes", "Tomorrow", "Call me"],
    )
    # [END send_buttons]
    # [START send_list]
    offer_times = WatiSendListOperator(
        task_id="offer_times",
        target="{{ params.phone }}",
        body="When is the best time?",
        button_text="Choose a time",
        sections=[
            {"title": "Morning", "rows": [{"title": "8 to 10"}, {"title": "10 to 12"}]},
            {"title": "Evening", "rows": [{"title": "18 to 20", "description": "Ring twice"}]},
        ],
    )
    # [END send_list]
    # [START start_chatbot]
    start_chatbot = WatiStartChatbotOperator(
        task_id="start_chatbot",
        target="{{ params.phone }}",
        chatbot_name="{{ params.chatbot }}",
    )
    # [END start_chatbot]

    chain(send_catalogue, send_receipt, save_media, ask_delivery, offer_times, start_chatbot)


wati_rich_messages()
