# The list of dependencies as a file of its own: pyproject.toml also changes for other reasons,
# and the layer with the dependencies should then be reused.
FROM python:3.13-slim AS requirements
COPY pyproject.toml .
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > /requirements.txt

FROM python:3.13-slim AS dependencies
COPY --from=requirements /requirements.txt /
RUN python -m venv --without-pip /opt/buffr \
    && python -m pip --python /opt/buffr/bin/python install --no-cache-dir \
        --root-user-action=ignore --requirement /requirements.txt

FROM dependencies AS package
WORKDIR /src
COPY pyproject.toml README.md ./
COPY buffr ./buffr
COPY twisted ./twisted
RUN python -m pip --python /opt/buffr/bin/python install --no-cache-dir --no-deps --no-warn-script-location \
        --root-user-action=ignore --root /package .

FROM python:3.13-slim
LABEL org.opencontainers.image.title="buffr" \
      org.opencontainers.image.description="A proxy that remembers" \
      org.opencontainers.image.licenses="MIT"
# Any user of the container may write to the volumes (--user). The files in them are private:
# the CA's key and new cassettes have mode 0600.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')" \
    && groupadd --gid 1000 buffr \
    && useradd --uid 1000 --gid buffr --no-create-home --home-dir /data buffr \
    && install --directory --owner=buffr --group=buffr --mode=1777 /data /ca /ca-key
COPY --from=dependencies /opt/buffr /opt/buffr
COPY --from=package /package /
# PYTHONSAFEPATH: a module in /data is never imported.
ENV PATH=/opt/buffr/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    BUFFR_LISTEN=0.0.0.0 \
    BUFFR_ALLOW=127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,::1/128,fc00::/7 \
    BUFFR_CA_CERT=/ca/buffr-ca.pem \
    BUFFR_CA_KEY=/ca-key/buffr-ca.key
USER 1000:1000
WORKDIR /data
VOLUME ["/data", "/ca", "/ca-key"]
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=6 \
    CMD ["python", "-m", "buffr.commands.healthcheck"]
ENTRYPOINT ["python", "-m", "buffr.container"]
