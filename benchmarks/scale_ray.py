"""Ray Serve with two replicas of the Flask application: ``python -m benchmarks.scale_ray PORT``."""

import sys
from typing import Any

from ray import serve


def build() -> Any:
    from benchmarks.scale_apps import asgi

    return asgi


@serve.deployment(num_replicas=2, max_ongoing_requests=40)
@serve.ingress(build)
class Site:
    pass


if __name__ == "__main__":
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Site.bind(), blocking=True, logging_config={"enable_access_log": False})
