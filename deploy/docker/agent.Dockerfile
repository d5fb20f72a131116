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
# A small young space: bodies in buffers are given back at once (docs/performance.md).
ENTRYPOINT ["node", "--max-semi-space-size=1", "/usr/local/bin/wolf-revdial-client"]
CMD ["connect"]
