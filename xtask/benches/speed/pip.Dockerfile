# What the service's image is measured against: the same packages and the same
# result, by pip alone.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
        libgl1 libgomp1 libharfbuzz0b libopengl0 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home backend \
    && mkdir /models /output \
    && chmod 1777 /home/backend /models /output
WORKDIR /app
ENV VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_DISABLE_JIT=1
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
COPY requirements.txt .
RUN python3 -m venv "$VIRTUAL_ENV" \
    && export PIP_INDEX_URL="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}" \
    && pip install --no-cache-dir -r requirements.txt
ENV HOME=/home/backend \
    USER=backend \
    HF_HOME=/models/huggingface \
    TORCH_HOME=/models/torch \
    U2NET_HOME=/models/u2net
USER backend
EXPOSE 8000
CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8000", "--http", "h11", "--timeout-graceful-shutdown", "25", "--no-access-log"]
COPY . .
