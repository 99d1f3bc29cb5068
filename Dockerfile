# An image of the ampacity binary: docker build -t YOUR-REGISTRY/ampacity:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package ampacity

# The binary needs glibc and libgcc, and nothing else; certificates come from kubeconfigs and the pod's service account.
FROM debian:bookworm-slim
USER 65532:65532
COPY --from=build /src/target/release/ampacity /usr/local/bin/ampacity
ENTRYPOINT ["/usr/local/bin/ampacity"]
