"""A Kubernetes node of our own, and the tests that run on it: `make test-cluster`.

The node is built from the Go module proxy (.ci/node/build) and lives in network, mount and pid namespaces of its own
without an uplink: nothing of it can send a packet out of the machine, and ending its first process ends all of it.
Where KUBECONFIG is set the same tests run on that cluster.

    python -m tests.cluster up          bring it up and leave it
    python -m tests.cluster run CMD     a command in its network: kubectl, helm, k6, pytest
    python -m tests.cluster down        gone without a trace
"""
