"""What Slack and PagerDuty document about the requests that they take, as JSON Schemas.

Slack: incoming webhooks and chat.postMessage with legacy attachments. PagerDuty: Events API v2.
"""

from __future__ import annotations

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


def check_slack(body: Any) -> None:
    """Fails with what Slack would refuse; text must hold no markup that is not ours."""
    Draft202012Validator(SLACK).validate(body)


def check_pagerduty(body: Any) -> None:
    """Fails with what PagerDuty would refuse."""
    Draft202012Validator(PAGERDUTY).validate(body)
