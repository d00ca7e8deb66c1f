# The image of the DaemonSet in deploy/. Build it with
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t agentd .
#
# The base images are named without a registry; another one, or a mirror, is
# given with --build-arg BUILD_BASE=... and BASE=....

ARG BUILD_BASE=golang:1.26-bookworm
ARG BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS build
# Where Go's modules are from, for those who have a proxy of their own.
ARG GOPROXY
ENV GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
WORKDIR /src
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -tags netgo,osusergo -ldflags "-s -w -linkmode external -extldflags -static -X agentd.dev/agentd.Version=${VERSION}" -o /out/ ./cmd/agentd && \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/ ./cmd/agentctl

FROM ${BASE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="agentd" \
      org.opencontainers.image.description="Shows, and decides, what AI agents do to databases" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/agentd /out/agentctl /usr/local/bin/
# The configuration and the policies are mounted here: agentd.yaml and policies/.
RUN mkdir -p /etc/agentd
# agentd runs as root, and with the capabilities that deploy/daemonset.yaml lists
# and justifies: loading BPF programs and entering the network namespaces of the
# workloads is not for users. The same goes for agentctl, since agentd answers
# root alone. Nothing in the image is setuid on their behalf.
USER root
# The answer is about the daemon of this container, also when another one runs
# on the host.
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["agentctl", "status", "--here"]
# SIGTERM drains: sessions may finish, for as long as limits.drain says.
STOPSIGNAL SIGTERM
ENTRYPOINT ["agentd"]
CMD ["--config", "/etc/agentd/agentd.yaml"]
