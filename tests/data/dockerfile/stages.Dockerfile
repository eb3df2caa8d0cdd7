ARG VERSION=3.19
ARG REPO=docker.io/library
ARG IMAGE=${REPO}/alpine:${VERSION}

FROM ${IMAGE} AS base
RUN apk add make

FROM base AS Build
COPY . /src
RUN make -C /src

FROM base AS docs
RUN --mount=type=cache,target=/c make docs

FROM build AS test
RUN make check

FROM scratch
COPY --from=build /src/out /
COPY --from=0 /etc/apk /apk
COPY --from=ghcr.io/x/y:1 /z /z
