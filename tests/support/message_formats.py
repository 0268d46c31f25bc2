"""What channels document about the requests that they take, as JSON Schemas.

Slack: incoming webhooks and chat.postMessage with legacy attachments. PagerDuty: Events API v2.
Opsgenie: alert API v2. Teams: a workflow that posts an Adaptive Card. Discord: execute webhook.
Telegram: sendMessage. Lengths are counted in UTF-16, where an emoji has two, which is the most.
"""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

SLACK: dict[str, Any] = {
    "type": "object",
    "required": ["attachments"],
    "additionalProperties": False,
    "properties": {
        "channel": {"type": "string", "minLength": 1},
        "username": {"type": "string"},
        "text": {"type": "string", "maxLength": 40000},
        "link_names": {"type": "boolean"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "maxItems": 100,
            "items": {
                "type": "object",
                "required": ["fallback", "text"],
                "properties": {
                    "fallback": {"type": "string", "minLength": 1},
                    "title": {"type": "string", "minLength": 1, "maxLength": 1024},
                    "title_link": {"type": "string", "pattern": "^https?://\\S+$"},
                    "text": {"type": "string", "minLength": 1, "maxLength": 40000},
                    "color": {
                        "type": "string",
                        "pattern": "^(good|warning|danger|#[0-9a-fA-F]{6})$",
                    },
                    "footer": {"type": "string", "maxLength": 300},
                    "mrkdwn_in": {
                        "type": "array",
                        "items": {"enum": ["pretext", "text", "fields", "fallback"]},
                    },
                },
            },
        },
    },
}
PAGERDUTY: dict[str, Any] = {
    "type": "object",
    "required": ["routing_key", "event_action", "payload"],
    "properties": {
        "routing_key": {"type": "string", "pattern": "^[A-Za-z0-9]{32}$"},
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": {"type": "string"},
        "client_url": {"type": "string", "pattern": "^https?://\\S+$"},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                "source": {"type": "string", "minLength": 1},
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "class": {"type": "string"},
                "component": {"type": "string"},
                "group": {"type": "string"},
                "custom_details": {"type": "object"},
            },
        },
        "links": {"type": "array"},
        "images": {"type": "array"},
    },
}


OPSGENIE: dict[str, Any] = {
    "type": "object",
    "required": ["message", "alias"],
    "additionalProperties": False,
    "properties": {
        "message": {"type": "string", "minLength": 1, "maxLength": 130},
        "alias": {"type": "string", "minLength": 1, "maxLength": 512},
        "description": {"type": "string", "maxLength": 15000},
        "details": {"type": "object", "additionalProperties": {"type": "string"}},
        "tags": {"type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": 50}},
        "entity": {"type": "string", "maxLength": 512},
        "source": {"type": "string", "maxLength": 100},
        "priority": {"enum": ["P1", "P2", "P3", "P4", "P5"]},
    },
}
OPSGENIE_CLOSE: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"source": {"type": "string", "maxLength": 100}},
}
TEAMS: dict[str, Any] = {
    "type": "object",
    "required": ["type", "attachments"],
    "properties": {
        "type": {"const": "message"},
        "attachments": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "required": ["contentType", "content"],
                "properties": {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "content": {
                        "required": ["type", "version", "body"],
                        "properties": {
                            "type": {"const": "AdaptiveCard"},
                            "version": {"enum": ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]},
                            "body": {
                                "items": {
                                    "required": ["type", "text"],
                                    "properties": {
                                        "type": {"const": "TextBlock"},
                                        "text": {"type": "string", "minLength": 1},
                                    },
                                }
                            },
                        },
                    },
                },
            },
        },
    },
}
DISCORD: dict[str, Any] = {
    "type": "object",
    "required": ["embeds"],
    "properties": {
        "content": {"type": "string", "maxLength": 2000},
        "embeds": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10,
            "items": {
                "type": "object",
                "required": ["title", "description"],
                "properties": {
                    "title": {"type": "string", "minLength": 1, "maxLength": 256},
                    "description": {"type": "string", "minLength": 1, "maxLength": 4096},
                    "color": {"type": "integer", "minimum": 0, "maximum": 0xFFFFFF},
                },
            },
        },
    },
}
TELEGRAM: dict[str, Any] = {
    "type": "object",
    "required": ["chat_id", "text"],
    "properties": {
        "chat_id": {"type": "string", "pattern": "^-?[0-9]+$"},
        "text": {"type": "string", "minLength": 1},
        "parse_mode": {"enum": ["HTML", "MarkdownV2"]},
    },
}
WEBHOOK: dict[str, Any] = {
    "type": "object",
    "required": ["version", "status", "receiver", "alerts", "groupKey", "commonLabels"],
    "properties": {
        "version": {"const": "4"},
        "status": {"enum": ["firing", "resolved"]},
        "truncatedAlerts": {"type": "integer"},
        "alerts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {"required": ["status", "labels", "annotations", "startsAt", "fingerprint"]},
        },
    },
}
TEAMS_BYTES = 28 * 1024
TELEGRAM_TEXT, DISCORD_TITLE, DISCORD_TEXT = 4096, 256, 4096
OPSGENIE_DETAILS = 8000


def utf16(text: str) -> int:
    """The length of a text as most services count it."""
    return len(text.encode("utf-16-le")) // 2


def check_opsgenie(body: Any) -> None:
    """Fails with what Opsgenie would refuse."""
    is_close = "message" not in body
    Draft202012Validator(OPSGENIE_CLOSE if is_close else OPSGENIE).validate(body)
    details = body.get("details", {})
    assert sum(len(name) + len(text) for name, text in details.items()) <= OPSGENIE_DETAILS


def check_teams(body: Any) -> None:
    """Fails with what Microsoft Teams would refuse."""
    Draft202012Validator(TEAMS).validate(body)
    assert len(json.dumps(body).encode()) < TEAMS_BYTES


def check_discord(body: Any) -> None:
    """Fails with what Discord would refuse, or what it would notify people of."""
    Draft202012Validator(DISCORD).validate(body)
    assert body["content"] == ""  # the only part whose mentions notify
    for embed in body["embeds"]:
        assert utf16(embed["title"]) <= DISCORD_TITLE
        assert utf16(embed["description"]) <= DISCORD_TEXT


def check_telegram(body: Any) -> None:
    """Fails with what Telegram would refuse."""
    Draft202012Validator(TELEGRAM).validate(body)
    assert utf16(body["text"]) <= TELEGRAM_TEXT * 4  # with markup; without it, see the test


def check_webhook(body: Any) -> None:
    """Fails with what Alertmanager documents otherwise."""
    Draft202012Validator(WEBHOOK).validate(body)


def check_slack(body: Any) -> None:
    """Fails with what Slack would refuse; text must hold no markup that is not ours."""
    Draft202012Validator(SLACK).validate(body)


def check_pagerduty(body: Any) -> None:
    """Fails with what PagerDuty would refuse."""
    Draft202012Validator(PAGERDUTY).validate(body)
