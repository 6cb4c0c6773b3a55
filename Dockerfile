# A slim image around a binary that is built before: bun run build --target x64-glibc,arm64-glibc
ARG BASE=debian:trixie-slim

# Picks the binary of this architecture, so that the image holds only that one.
FROM ${BASE} AS pick
COPY dist/aralez-*-glibc /dist/
RUN install -m 0755 "/dist/aralez-$(uname -m)-glibc" /aralez

FROM ${BASE}
RUN useradd --system --uid 65532 --user-group --no-create-home --shell /usr/sbin/nologin aralez \
    && install -d -m 0755 /etc/aralez
COPY --from=pick /aralez /usr/local/bin/aralez
USER 65532:65532
STOPSIGNAL SIGTERM
EXPOSE 6193
ENTRYPOINT ["/usr/local/bin/aralez"]
CMD ["-c", "/etc/aralez/main.yaml"]
