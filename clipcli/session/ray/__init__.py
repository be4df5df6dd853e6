"""`embed --ray`: a session in each worker of a Ray cluster, as a thin adapter over Ray Data.

    resources.py    the requested cluster, and the division of its nodes among workers
    tables.py       references and results as Arrow tables
    worker.py       the actor: references in, vectors or errors out
    cluster.py      connect, describe the model and run; the only module that imports ray
    ray_session.py  the cluster behind the interface of a session

Ray Data schedules, retries and restarts dead workers.
"""
