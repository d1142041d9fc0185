# Two images: `perennial` for all eight processes and the tools, `kafka` for a single broker.

FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
COPY requirements-setup.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements-setup.lock
COPY requirements-processes.lock ./
RUN uv venv --python /usr/local/bin/python /opt/perennial \
    && uv pip install --no-cache --compile-bytecode --python /opt/perennial/bin/python \
        --require-hashes -r requirements-processes.lock

FROM python:3.11-slim-bookworm AS perennial
# The folders are where volumes go: a new volume takes their owner on.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin perennial \
    && install --directory --owner=perennial --group=perennial /secrets/processes /secrets/admin /sandbox /mails
COPY --from=packages /opt/perennial /opt/perennial
WORKDIR /srv/perennial
COPY libs libs
COPY services services
COPY deploy deploy
RUN python -m compileall -q .
ENV PATH=/opt/perennial/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001

FROM maven:3.9-eclipse-temurin-17 AS jars
COPY deploy/kafka/pom.xml /build/pom.xml
RUN mvn -q -B -f /build/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=/opt/kafka/lib

FROM perennial AS kafka
USER 0
RUN install --directory --owner=perennial --group=perennial /var/lib/kafka
COPY --from=eclipse-temurin:17-jre-jammy /opt/java/openjdk /opt/java/openjdk
COPY --from=jars /opt/kafka/lib /opt/kafka/lib
ENV JAVA_HOME=/opt/java/openjdk
USER 10001
CMD ["python", "-m", "deploy.kafka"]
