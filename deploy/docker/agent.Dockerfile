# The agent: one bundled file and Node, nothing else.
# Build from the project's root: docker build -f deploy/docker/agent.Dockerfile -t wolfpack/agent:0.1.0 .
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
COPY . .
RUN npx --yes "$(node -p 'require("./package.json").packageManager')" install --frozen-lockfile
ENV TURBO_TELEMETRY_DISABLED=1 PATH=/build/node_modules/.bin:$PATH
RUN turbo run build --filter=@wolfpack/wolf-revdial-client
# What is in the bundle, from the lockfile.
RUN node scripts/sbom.mjs

FROM node:24.21.0-bookworm-slim
COPY --from=build --chown=root:root /build/apps/wolf-revdial-client/dist/wolf-revdial-client.mjs /usr/local/bin/wolf-revdial-client
COPY --from=build --chown=root:root /build/sbom/agent.cdx.json /usr/share/wolfpack/sbom/
# By number, so that Kubernetes can tell that it is not root: node's.
USER 1000:1000
# Whoever builds says which commit it is: --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD)
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wolf-revdial-client" \
  org.opencontainers.image.description="Wolfpack's agent beside a Wolf" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION" \
  org.opencontainers.image.base.name="docker.io/library/node:24.21.0-bookworm-slim" \
  wolfpack.sbom.format="application/vnd.cyclonedx+json; version=1.6" \
  wolfpack.sbom.path="/usr/share/wolfpack/sbom"
ENV WOLFPACK_HEALTH_LISTEN=127.0.0.1:9480
# Unhealthy when the agent is stuck and only a restart helps; an outage of the network is not that.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
  CMD ["node", "/usr/local/bin/wolf-revdial-client", "status", "--alive"]
# A small young space: bodies in buffers are given back at once (docs/performance.md).
ENTRYPOINT ["node", "--max-semi-space-size=1", "/usr/local/bin/wolf-revdial-client"]
CMD ["connect"]
