"""What buffr costs, beside its peers, on the machine at hand.

``python -m benchmarks`` runs all of it and prints one table; docs/benchmarks.md
says what each benchmark measures. A benchmark is a module with a ``run`` that
sets its scene and gives back the table's rows. They share ``bench`` (one run:
files, cores, rounds), ``process`` (a server, and what it has used), ``servers``
(buffr and its peers), ``message`` (the requests, and a client that checks one
answer), ``load`` (wrk, which makes many) and ``cost`` (processor time per
answer).
"""
