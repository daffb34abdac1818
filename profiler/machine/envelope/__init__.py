"""An instance profile, enforced on this host: so many CPUs, so much memory, and nothing that outlives it.

``opening`` chooses among the methods, one module each: ``version_2`` and ``version_1`` make control groups, ``scope``
asks systemd for one, and ``affinity`` is what remains where neither works (and contains nothing: libraries re-pin their
threads). ``types`` is what all of them give. Which CPUs make an envelope is said in ``profiler.machine.cpus``.
"""
