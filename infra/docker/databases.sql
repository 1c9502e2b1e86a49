-- Run once by PostgreSQL's image, on an empty volume: one database a service, so that each can be restored alone.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
CREATE DATABASE unlearning;
