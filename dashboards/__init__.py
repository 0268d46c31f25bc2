"""Grafana dashboards as code.

    model.py            what a page consists of, without Grafana
    pages/              one module per page, readable as a table of contents
    grafana.py          renders a page as Grafana's JSON
    grafana_sources.py  what differs between the data sources of the engines
    generate.py         writes dashboards/generated/, which Grafana reads
    run.py              runs a page's queries on an engine
    check.py            reports panels without data, with an error, or slow
    report.py           writes the same pages as one HTML file
    grafana_api.py      imports them into a running Grafana

Queries come from stack/queries by name; there is no query text here.
"""
