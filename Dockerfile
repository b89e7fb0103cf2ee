# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY buffr ./buffr
COPY twisted ./twisted
RUN python -m venv /opt/buffr \
    && /opt/buffr/bin/pip install --no-cache-dir .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="buffr" \
      org.opencontainers.image.description="A proxy that remembers" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/buffr /opt/buffr
RUN groupadd --gid 1000 buffr \
    && useradd --uid 1000 --gid buffr --no-create-home --home-dir /data buffr \
    && install --directory --owner=buffr --group=buffr /data /ca
ENV PATH=/opt/buffr/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BUFFR_LISTEN=0.0.0.0 \
    BUFFR_ALLOW=127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7
USER 1000:1000
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=6 \
    CMD ["python", "-m", "buffr.healthcheck"]
ENTRYPOINT ["buffr"]
