# The gateway on a slim image: installed from the hash-locked list, run as a user of its own.
FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# For the fast path of the limits; without a compiler the wheel has the Python code alone.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    || echo "no C compiler: the limits will have no fast path"
RUN python -m venv /opt/vai
WORKDIR /src
COPY requirements/server.txt requirements/server.txt
RUN /opt/vai/bin/pip install --no-deps --require-hashes -r requirements/server.txt
COPY pyproject.toml hatch_build.py README.md LICENSE settings.toml ./
COPY tools/compile_fast_path.py tools/compile_fast_path.py
COPY vai vai
RUN /opt/vai/bin/pip install --no-deps .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin vai
COPY --from=build /opt/vai /opt/vai
ENV PATH=/opt/vai/bin:$PATH PYTHONUNBUFFERED=1 VAI_HOST=0.0.0.0 VAI_PORT=8080
USER 10001
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['VAI_PORT']}/health\", timeout=2)"]
CMD ["vai", "serve"]
