# One image for every service of docker-compose.yml; nothing in it runs as root.
FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /srv/hie --create-home hie
WORKDIR /srv/hie
COPY --chown=hie:hie requirements.txt hub manage.py pyproject.toml ./
COPY --chown=hie:hie hie hie
COPY --chown=hie:hie patients patients
COPY --chown=hie:hie documents documents
COPY --chown=hie:hie consent consent
USER hie
RUN ./hub version && .venv/bin/python -m compileall -q hie patients documents consent
RUN mkdir -m 0700 data
# Plain MLLP never leaves the container; the mllp service opens it, with its certificates.
ENV HIE_DATA_DIR=/srv/hie/data HIE_BIND=0.0.0.0 HIE_MLLP_BIND=127.0.0.1
EXPOSE 8000 2575
CMD ["./hub", "web"]
