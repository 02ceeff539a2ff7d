FROM tiny
COPY src/ /src/
