"""`embed --ray local`: the same session, held by each worker of a Ray cluster; a thin adapter over Ray Data.

    resources.py    which cluster, and how its nodes are shared out among workers
    tables.py       references and results as Arrow tables, which is what travels
    worker.py       what an actor does: references in, vectors or reasons out
    cluster.py      the one module that imports ray: connect, describe the model, run
    ray_session.py  all of it behind the interface of a session

Ray Data schedules, retries and starts dead workers again; nothing of that is done here.
"""
