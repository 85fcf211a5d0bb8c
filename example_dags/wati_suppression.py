"""
Keep a table of the people who must not be messaged, out of what WATI knows, and leave them out of a send.

A person is on it who has opted out in WATI, or whose last word was STOP or its like; START takes off who wrote it. It needs a
connection ``warehouse`` to SQLite or PostgreSQL, with a table ``customers`` (phone, full_name), and an approved
template ``welcome``. Nothing about consent is written to WATI. The defaults fit the sandbox.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiTemplateOperator
from airflow_provider_wati.transfers.wati_to_sql import WatiContactsToSqlOperator, WatiMessagesToSqlOperator

# [START suppression_sql]
CREATE_TABLES = [
    # The messages that opt out or in. Nothing is removed from it, so that the last word of a person can be found.
    "CREATE TABLE IF NOT EXISTS wati_consent_words (message_id VARCHAR(255) PRIMARY KEY, choice VARCHAR(10) NOT NULL)",
    # How far messages were looked at, in one row.
    "CREATE TABLE IF NOT EXISTS wati_consent_watermark (extracted_at VARCHAR(40) NOT NULL)",
    "CREATE TABLE IF NOT EXISTS wati_suppression (target VARCHAR(255) PRIMARY KEY, reason VARCHAR(40) NOT NULL)",
]
NEW_MESSAGES = """
    SELECT id, text, type, extracted_at FROM wati_messages
    WHERE NOT owner AND LENGTH(text) <= 200 AND extracted_at >= {mark}
"""
KEEP_WORD = "INSERT INTO wati_consent_words VALUES ({mark}, {mark}) ON CONFLICT (message_id) DO NOTHING"
# Who has said what, the last word first; of two messages of one moment, the one that opts out.
SAID = """
    SELECT
        COALESCE(message.wa_id, contact.wa_id, contact.bsuid) AS target, word.choice,
        ROW_NUMBER() OVER (
            PARTITION BY COALESCE(message.wa_id, contact.wa_id, contact.bsuid)
            ORDER BY CASE WHEN message.created IS NULL THEN 1 ELSE 0 END, message.created DESC, word.choice DESC
        ) AS place
    FROM wati_consent_words word
    JOIN wati_messages message ON message.id = word.message_id
    LEFT JOIN wati_contacts contact ON contact.id = message.contact_id
    WHERE LOWER(COALESCE(message.channel_type, 'whatsapp')) = 'whatsapp'
"""
# A flag that WATI does not say counts as no.
FILL_SUPPRESSION = f"""
    INSERT INTO wati_suppression
    SELECT target, MIN(reason) FROM (
        SELECT COALESCE(wa_id, bsuid) AS target, 'opted out in WATI' AS reason
        FROM wati_contacts
        WHERE (allow_broadcast IS NOT TRUE OR opted_in IS NOT TRUE)
        AND LOWER(COALESCE(channel_type, 'whatsapp')) = 'whatsapp'
        UNION ALL
        SELECT target, 'wrote an opt-out word' FROM ({SAID}) said WHERE place = 1 AND choice = 'opt_out'
    ) suppressed
    WHERE target IS NOT NULL
    GROUP BY target
"""
# [END suppression_sql]
#: Messages are looked at again for a day: another DAG may take hours from reading a message to storing it.
OVERLAP = timedelta(days=1)
LONG_AGO = "1970-01-01T00:00:00.000000Z"


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "directory": Param(
            "file:///tmp/wati-example", type="string", title="Where the list of a run is kept"
        ),
        "full": Param(
            False, type="boolean", title="Look at all messages again, after the words have changed"
        ),
    },
)
def wati_suppression():
    contacts_to_sql = WatiContactsToSqlOperator(
        task_id="contacts_to_sql", table="wati_contacts", sql_conn_id="warehouse"
    )
    messages_to_sql = WatiMessagesToSqlOperator(
        task_id="messages_to_sql", table="wati_messages", sql_conn_id="warehouse"
    )

    # [START keep_suppression]
    @task
    def keep_words(params: dict[str, Any]) -> int:
        from airflow.sdk import BaseHook

        from airflow_provider_wati.listening.opt_out import CONSENT_WORDS

        hook = BaseHook.get_connection("warehouse").get_hook()
        hook.run(CREATE_TABLES)
        with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            if params["full"]:
                cursor.execute("DELETE FROM wati_consent_words")
                cursor.execute("DELETE FROM wati_consent_watermark")
            cursor.execute("SELECT MAX(extracted_at) FROM wati_consent_watermark")
            newest = cursor.fetchone()[0] or LONG_AGO
            since = (datetime.fromisoformat(newest) - OVERLAP).isoformat(timespec="microseconds")
            cursor.execute(NEW_MESSAGES.format(mark=hook.placeholder), (since,))
            words = []
            for message_id, text, message_type, extracted_at in cursor:
                if choice := CONSENT_WORDS.choice_of(text, message_type):
                    words.append((message_id, str(choice)))
                # A time in PostgreSQL, ISO 8601 in SQLite.
                read_at = extracted_at if isinstance(extracted_at, str) else extracted_at.isoformat()
                newest = max(newest, read_at, key=datetime.fromisoformat)
            # In one transaction: the watermark does not move without the words.
            cursor.executemany(KEEP_WORD.format(mark=hook.placeholder), words)
            cursor.execute("DELETE FROM wati_consent_watermark")
            cursor.execute(f"INSERT INTO wati_consent_watermark VALUES ({hook.placeholder})", (newest,))
            connection.commit()
        return len(words)

    @task
    def keep_suppression() -> dict[str, int]:
        from airflow.sdk import BaseHook

        hook = BaseHook.get_connection("warehouse").get_hook()
        # In one transaction: no send finds the table empty.
        hook.run(["DELETE FROM wati_suppression", FILL_SUPPRESSION])
        suppressed = hook.get_first("SELECT COUNT(*) FROM wati_suppression")[0]
        unknown = hook.get_first(f"SELECT COUNT(*) FROM ({SAID}) said WHERE target IS NULL")[0]
        return {"suppressed": suppressed, "words_of_unknown_people": unknown}

    # [END keep_suppression]
    # [START use_suppression]
    @task
    def list_suppressed(params: dict[str, Any], run_id: str | None = None) -> str:
        from airflow.sdk import BaseHook

        hook = BaseHook.get_connection("warehouse").get_hook()
        file = ObjectStoragePath(params["directory"]) / "suppressed" / f"{run_id}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w") as lines:
            lines.writelines(
                f"{target}\n" for (target,) in hook.get_records("SELECT target FROM wati_suppression")
            )
        return str(file)

    listed = list_suppressed()
    SqlToWatiTemplateOperator(
        task_id="send_news",
        sql_conn_id="warehouse",
        sql="SELECT phone, full_name FROM customers",
        target_column="phone",
        template_name="welcome",
        param_columns={},
        # Numbers are compared in one form, however they are spelled in the warehouse.
        suppress=listed,
        outcomes_table="news_messages",
    )
    # [END use_suppression]

    [contacts_to_sql, messages_to_sql] >> keep_words() >> keep_suppression() >> listed


wati_suppression()
