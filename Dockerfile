FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home user \
    && install --directory --owner user --group user /home/user/mnist-cnn

USER user
WORKDIR /home/user/mnist-cnn
COPY --chown=user . .
RUN make setup
ENV PATH=/home/user/mnist-cnn/.venv/bin:$PATH

CMD ["make", "repro"]
