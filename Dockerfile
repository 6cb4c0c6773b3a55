# A slim image around binaries that are built before: npm run build -- --target x64-glibc,arm64-glibc
#   docker build -t aralez .                                        for this machine
#   docker buildx build --platform linux/amd64,linux/arm64 …        for both; nothing of the target runs while it is built
ARG BASE=debian:trixie-slim

# Chooses the binary, so that the image holds only that one, and gives the user a name.
FROM --platform=$BUILDPLATFORM ${BASE} AS files
ARG TARGETARCH
COPY dist/aralez-*-glibc /dist/
RUN set -eu; \
    case "${TARGETARCH:-$(dpkg --print-architecture)}" in \
      amd64) machine=x86_64 ;; \
      arm64) machine=aarch64 ;; \
      *) echo "no binary for ${TARGETARCH:-$(dpkg --print-architecture)}: expected amd64 or arm64" >&2; exit 1 ;; \
    esac; \
    install -D -m 0755 "/dist/aralez-$machine-glibc" /files/usr/local/bin/aralez; \
    mkdir -p /files/etc /state; \
    cp -p /etc/passwd /etc/group /files/etc/; \
    echo 'aralez:x:65532:65532:Aralez:/var/lib/aralez:/usr/sbin/nologin' >>/files/etc/passwd; \
    echo 'aralez:x:65532:' >>/files/etc/group; \
    chmod 0700 /state

FROM ${BASE}
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Aralez" \
      org.opencontainers.image.description="A Bun-native reverse proxy: a main.yaml and an upstreams.yaml, everything else automatic" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=files /files/ /
# What ACME fetches and remembers, where /etc/aralez is mounted read-only.
COPY --from=files --chown=65532:65532 /state/ /var/lib/aralez/
COPY config/docker/main.yaml config/docker/upstreams.yaml /etc/aralez/
COPY config/docker/welcome/ /usr/share/aralez/welcome/
# A number: Kubernetes' runAsNonRoot can tell that it is not root. Engines open ports below 1024 to everybody in the
# container (net.ipv4.ip_unprivileged_port_start=0), so 80 and 443 need neither root nor a capability.
USER 65532:65532
WORKDIR /
VOLUME /var/lib/aralez
EXPOSE 80 443
# Drains: at the latest after graceful_shutdown_timeout_seconds (30), so give `docker stop` more than its default of 10.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/usr/local/bin/aralez", "health"]
ENTRYPOINT ["/usr/local/bin/aralez"]
CMD ["-c", "/etc/aralez/main.yaml"]
