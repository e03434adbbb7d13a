"""A mixed load on real servers with several processes, amid faults: ``python -m tests.soak``.

What is served
    The same pages on both sides (`wsgi_site`, `asgi_site`), on servers that replace their workers (`sites`).
    Each answer carries the number of its request, so one that goes to another client does not pass.
What is asserted
    Every request is answered in whole, or its connection is cut so that the client can tell. One that is not
    answered in whole is wrong, unless its page fails on purpose, or a fault was under way that allows it:
    `faults.FAULTS` says what each fault may cost. Workers note which requests they enter and leave
    (`inside`); in the end that is compared with what the clients have got.
"""
