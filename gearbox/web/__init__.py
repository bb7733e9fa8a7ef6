"""The dashboard, the HTTP API and the metrics of a core, in the core's own process and loop.

Everything is read and done through `methods.call`, the very functions that Gearman callers reach, so pages, API and
command line cannot disagree. Pages are made on the server and work without scripts; a small script of our own keeps
them live. Nothing is loaded from another host, and no build step stands between these files and the browser.

    server     binds the address and runs hypercorn in the daemon's nursery
    access     pure: which host, origin, token may do what
    guard      the same as ASGI: every request passes it
    app        the routes; desk, what their handlers share
    pages      one function a page; actions, one for each thing that can be done
    api        the methods as JSON over HTTP, openapi their description
    live       what changes, to those who look (server-sent events)
    series     the last hour, sampled in memory
    graph, charts, words   pure: pictures and texts
    metrics    for Prometheus

This package needs the extra `web`; what it does not need is `access`, which the settings use.
"""
