# st-server as one static binary, in an image without a shell. It runs as user 65532 and keeps everything
# in the volume /var/lib/st-server. As the first process it reaps orphans itself: no --init is needed.
#
#   docker build -t st-server .
#   docker run --rm -v st-server:/var/lib/st-server st-server keys create --name first --user ann --role admin
#   docker run -d --name st-server -v st-server:/var/lib/st-server -p 127.0.0.1:8001:8001 st-server
#
# It is configured by variables alone (-e NAME=VALUE, --env-file): the health check and `docker exec` read
# the same ones. Name a port by SIMPLETUNER_PORT and a file by SIMPLETUNER_ENTERPRISE_CONFIG, never by flags of `serve`.
# The key comes first: in a container the server listens on every address, which it refuses to do without
# one. Programs of local jobs are not in this image; copy the binary into one that has them:
#
#   COPY --from=st-server /usr/local/bin/st-server /usr/local/bin/st-server

FROM rust:1.95.0-slim-bookworm AS build
# The C compiler for SQLite and ring, against musl.
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl" \
 && install -d -m 700 /state
ENV CC_x86_64_unknown_linux_musl=musl-gcc \
    CC_aarch64_unknown_linux_musl=musl-gcc
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-musl" \
 && cargo build --release --locked --package st-server --target "$target" \
 && install -m 755 "target/$target/release/st-server" /st-server

# Authorities for TLS, time zones and a user; no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /st-server /usr/local/bin/st-server
COPY --from=build --chown=65532:65532 /state /var/lib/st-server
USER 65532:65532
ENV SIMPLETUNER_STATE_DIR=/var/lib/st-server \
    SIMPLETUNER_HOST=0.0.0.0
VOLUME ["/var/lib/st-server"]
EXPOSE 8001
STOPSIGNAL SIGTERM
# Whether it lives. Whether it can work now says `healthcheck --ready`; a restart mends no full disk, and
# would end the local jobs. A migration at the start may take its time.
HEALTHCHECK --interval=30s --timeout=15s --start-period=10m --retries=3 \
    CMD ["/usr/local/bin/st-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/st-server"]
CMD ["serve"]
