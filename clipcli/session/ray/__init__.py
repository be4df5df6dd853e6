"""`embed --ray local`: the same session, held by each worker of a Ray cluster; a thin adapter over Ray Data.

    resources.py  which cluster, and how its nodes are shared out among workers
    worker.py     the actor on a node: references in, vectors or errors out, as Arrow tables
    cluster.py    the one module that imports ray: connect, describe the model, run, behind the interface of a session

Ray Data schedules, retries and starts dead workers again; nothing of that is done here.
"""
