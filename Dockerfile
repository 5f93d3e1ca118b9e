# Built from the project's folder:  docker build --tag flarelay .
# A digest pins the base for ever: --build-arg BASE=python@sha256:…
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils
WORKDIR /build
COPY requirements.lock deploy/extras.lock ./
# Only wheels, only those whose hashes are locked: no compiler is needed, and nothing is run to build them.
RUN python -m venv --without-pip /opt/flarelay \
 && python -m pip --quiet --python /opt/flarelay/bin/python install --disable-pip-version-check --root-user-action=ignore \
      --require-hashes --only-binary=:all: --no-compile -r requirements.lock -r extras.lock
COPY app ./app
COPY LICENSE deploy/health.py /opt/flarelay/
# What is not read when it runs goes: tests, sources of compiled parts, types, symbols, the shells' activation scripts.
RUN cd /opt/flarelay/lib/python3.*/site-packages \
 && mv /build/app . \
 && find . -depth -type d \( -name tests -o -name __pycache__ \) -exec rm -r {} + \
 && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.c' -o -name '*.h' \) -delete \
 && find . -type f -name '*.so*' -exec strip --strip-unneeded {} + \
 && rm -r ../../../include ../../../bin/activate* ../../../bin/Activate* \
 && printf '%s\n' '#!/opt/flarelay/bin/python' 'from app.cli import main' 'main(prog_name="flarelay")' \
      > /opt/flarelay/bin/flarelay \
 && chmod 755 /opt/flarelay/bin/flarelay

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flarelay" \
      org.opencontainers.image.description="A local proxy that serves the OpenAI API from Cloudflare Workers AI." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/flarelay /opt/flarelay
ENV PATH=/opt/flarelay/bin:/usr/local/bin:/usr/bin:/bin
# No installer in the result. Bytecode of what a start and the first requests import is written now, because later
# nothing can be written.
RUN cd /usr/local/lib/python3.* \
 && rm -rf ensurepip idlelib tkinter turtledemo site-packages/pip* site-packages/setuptools* site-packages/wheel* \
      /usr/local/bin/pip* /usr/local/bin/idle* /usr/local/bin/wheel* \
 && FLARELAY_DATA_DIR=/tmp/start flarelay keys list \
 && python -c 'import app.main, app.server, app.emulator.server, asyncpg, redis.asyncio, uvloop, \
      uvicorn.protocols.http.httptools_impl, uvicorn.protocols.websockets.websockets_sansio_impl, \
      sqlalchemy.dialects.postgresql.asyncpg, app.store.postgres, app.telemetry.exporting, app.telemetry.tracing, \
      app.fetch.download, jsonschema, referencing.jsonschema' \
 && rm -r /tmp/start \
 && install -d -o 10001 -g 10001 /data
ENV PYTHONDONTWRITEBYTECODE=1 \
    FLARELAY_HOST=0.0.0.0 \
    FLARELAY_DATA_DIR=/data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8484
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["/opt/flarelay/bin/python", "-I", "-S", "/opt/flarelay/health.py"]
ENTRYPOINT ["flarelay"]
CMD ["serve"]
