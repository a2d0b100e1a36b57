# c2seg with everything, on the CPU: docker build -t c2seg . && docker run --rm -v "$PWD:/data" -w /data c2seg inspect CITY
# On GPUs: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128, and docker run --gpus all.
FROM python:3.11-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -m venv /opt/c2seg
ENV PATH=/opt/c2seg/bin:$PATH
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"
COPY pyproject.toml README.md LICENSE /source/
COPY src /source/src
RUN pip install --no-cache-dir '/source[all]'

FROM python:3.11-slim
COPY --from=build /opt/c2seg /opt/c2seg
ENV PATH=/opt/c2seg/bin:$PATH OMP_WAIT_POLICY=passive
RUN useradd --create-home c2seg
USER c2seg
ENTRYPOINT ["c2seg"]
CMD ["--help"]
