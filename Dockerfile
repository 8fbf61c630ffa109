# One image for every process of Boxoffice; the command says which: serve, admin, settle, migrate …; the operator is
# `kopf run /opt/boxoffice/operator/main.py`.
#
#   docker build -t boxoffice .
#   docker build -t boxoffice:demo --target demo . && docker run --rm -it boxoffice:demo     # a whole sale
#
# BASE needs python3 (3.11 or later) and nothing else; BUILD_BASE, of the same system, also pip and venv.
ARG BASE=python:3.13-slim
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv --without-pip /opt/boxoffice && python3 -m venv --without-pip /opt/hatch
COPY requirements-build.lock requirements.lock ./
RUN python3 -m pip --python /opt/hatch/bin/python install -q --require-hashes --only-binary :all: -r requirements-build.lock \
 && python3 -m pip --python /opt/boxoffice/bin/python install -q --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY load load
COPY manifests manifests
COPY operator /opt/boxoffice/operator
# Bytecode that is never compared with its source: the root file system is read-only, and times differ between builds.
RUN python3 -m pip --python /opt/hatch/bin/python wheel -q --no-deps --no-build-isolation -w /dist . \
 && python3 -m pip --python /opt/boxoffice/bin/python install -q --no-deps --no-index /dist/*.whl \
 && /opt/boxoffice/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/boxoffice/lib /opt/boxoffice/operator

FROM build AS build-demo
COPY requirements-demo.lock ./
RUN python3 -m pip --python /opt/boxoffice/bin/python install -q --require-hashes --only-binary :all: -r requirements-demo.lock

FROM ${BASE} AS runtime
RUN echo 'boxoffice:x:10001:' >> /etc/group \
 && echo 'boxoffice:x:10001:10001:Boxoffice:/tmp:/usr/sbin/nologin' >> /etc/passwd
ENV PATH=/opt/boxoffice/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["boxoffice"]

FROM runtime AS demo
COPY --from=build-demo /opt/boxoffice /opt/boxoffice
CMD ["demo"]

FROM runtime AS boxoffice
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="boxoffice" \
      org.opencontainers.image.description="Sells the seats of a concert to a crowd far larger than the hall" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/boxoffice /opt/boxoffice
EXPOSE 8083 8084 8085
CMD ["serve"]
