# The agent: one bundled file and Node, nothing else.
# Build from the project's root: docker build -f deploy/docker/agent.Dockerfile -t wolfpack/agent .
FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY . .
RUN npx --yes "$(node -p 'require("./package.json").packageManager')" install --frozen-lockfile
ENV TURBO_TELEMETRY_DISABLED=1 PATH=/build/node_modules/.bin:$PATH
RUN turbo run build --filter=@wolfpack/wolf-revdial-client

FROM node:24-bookworm-slim
COPY --from=build --chown=root:root /build/apps/wolf-revdial-client/dist/wolf-revdial-client.mjs /usr/local/bin/wolf-revdial-client
USER node
LABEL org.opencontainers.image.title="wolf-revdial-client" \
  org.opencontainers.image.description="Wolfpack's agent beside a Wolf" \
  org.opencontainers.image.licenses="MIT"
ENV WOLFPACK_HEALTH_LISTEN=127.0.0.1:9480
# Unhealthy when the agent is stuck and only a restart helps; an outage of the network is not that.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
  CMD ["node", "/usr/local/bin/wolf-revdial-client", "status", "--alive"]
# A small young space: bodies in buffers are given back at once (docs/performance.md).
ENTRYPOINT ["node", "--max-semi-space-size=1", "/usr/local/bin/wolf-revdial-client"]
CMD ["connect"]
