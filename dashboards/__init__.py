"""Grafana dashboards as code.

    model.py      what a page consists of, without any Grafana
    pages/        the pages, one module each: read one like a table of contents
    grafana.py    a page as Grafana's JSON, for Loki or for VictoriaLogs
    generate.py   writes dashboards/generated/, which is what Grafana reads
    run.py        asks an engine for what a page shows
    check.py      says what is empty, wrong or slow
    report.py     the same pages as one HTML file
    grafana_api.py  brings them into a Grafana

Queries come from stack/queries/catalogue.py by name; there is no query text here.
"""
