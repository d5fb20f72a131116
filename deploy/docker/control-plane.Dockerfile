# The control plane: built with the pinned toolchain, run as an ordinary user on a read-only root.
# Build from the project's root: docker build -f deploy/docker/control-plane.Dockerfile -t wolfpack/control-plane:0.1.0 .
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
COPY . .
# As scripts/wolfpack.mjs does it; the version is that of packageManager in package.json.
RUN npx --yes "$(node -p 'require("./package.json").packageManager')" install --frozen-lockfile
ENV TURBO_TELEMETRY_DISABLED=1 PATH=/build/node_modules/.bin:$PATH
RUN turbo run build --filter=@wolfpack/control-plane
# What is in the image, from the lockfile.
RUN node scripts/sbom.mjs
# Only what runs: production dependencies, built files, migrations.
RUN rm -rf node_modules apps/*/node_modules packages/*/node_modules \
  && CI=true npx --yes "$(node -p 'require("./package.json").packageManager')" install --frozen-lockfile --prod --ignore-scripts \
    --filter-prod "@wolfpack/control-plane..."

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 DATA_DIR=/var/lib/wolfpack
RUN install -d -o node -g node -m 0700 /var/lib/wolfpack
WORKDIR /opt/wolfpack
COPY --from=build --chown=root:root /build/package.json ./
COPY --from=build --chown=root:root /build/node_modules ./node_modules
COPY --from=build --chown=root:root /build/packages ./packages
COPY --from=build --chown=root:root /build/apps/control-plane ./apps/control-plane
COPY --from=build --chown=root:root /build/apps/dashboard/dist ./apps/dashboard/dist
COPY --from=build --chown=root:root /build/prisma ./prisma
COPY --from=build --chown=root:root /build/sbom/control-plane.cdx.json /build/sbom/dashboard.cdx.json /usr/share/wolfpack/sbom/
# By number, so that Kubernetes can tell that it is not root: node's.
USER 1000:1000
# Whoever builds says which commit it is: --build-arg VERSION=0.1.0 --build-arg REVISION=$(git rev-parse HEAD)
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wolfpack-control-plane" \
  org.opencontainers.image.description="Wolfpack's control plane" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="$VERSION" \
  org.opencontainers.image.revision="$REVISION" \
  org.opencontainers.image.base.name="docker.io/library/node:24.21.0-bookworm-slim" \
  wolfpack.sbom.format="application/vnd.cyclonedx+json; version=1.6" \
  wolfpack.sbom.path="/usr/share/wolfpack/sbom"
EXPOSE 8080
VOLUME /var/lib/wolfpack
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Secrets may come as a file of NAME=value lines, which `docker inspect` does not show; what is in the environment goes before it.
# A small young space: bodies in buffers are given back at once (docs/performance.md).
ENTRYPOINT ["node", "--env-file-if-exists=/run/secrets/control-plane.env", "--max-semi-space-size=1", "--disable-proto=delete", "apps/control-plane/dist/main.js"]
