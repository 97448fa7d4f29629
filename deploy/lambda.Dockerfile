# The Lambda handlers of Penstock on AWS's base image; build from the repository's root:
#   docker build -f deploy/lambda.Dockerfile -t penstock/lambda .
# The function's handler is the command, as Lambda's container images have it: services.<name>.lambda_handler.handler
ARG LAMBDA_IMAGE=amazon/aws-lambda-python:3.11

FROM ${LAMBDA_IMAGE} AS build
COPY deploy/local/bootstrap.lock pyproject.toml requirements.lock /build/
RUN python3 -m venv /uv && /uv/bin/pip install --quiet --require-hashes -r /build/bootstrap.lock \
 && /uv/bin/uv pip install --quiet --no-cache --python python3 --target /packages \
      -r /build/pyproject.toml --extra cassandra -c /build/requirements.lock
COPY . /source
RUN /uv/bin/uv pip install --quiet --no-cache --python python3 --target /packages --no-deps /source

FROM ${LAMBDA_IMAGE}
LABEL org.opencontainers.image.title="penstock-lambda" \
      org.opencontainers.image.description="Lambda handlers of Penstock" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /packages ${LAMBDA_TASK_ROOT}
# What Lambda runs it as, and what a container is safe to be run as elsewhere.
USER 10001:10001
CMD ["services.persistence.lambda_handler.handler"]
