{{/* (root, memory in MiB): the files of each engine under /etc/boxoffice; their data is in /data. */}}

{{- define "boxoffice.dev.valkey" -}}
start.sh: |
  exec valkey-server /etc/boxoffice/valkey.conf
valkey.conf: |
  port 6379
  bind * -::*
  requirepass {{ .root.Values.dev.password }}
  dir /data
  appendonly yes
  appendfsync everysec
  save ""
  maxmemory {{ div (mul .memory 3) 4 }}mb
  maxmemory-policy noeviction
{{- end }}

{{/* The cluster's id is made of 16 bytes that follow from the release. */}}
{{- define "boxoffice.dev.kafka" -}}
{{- $id := sha256sum (include "boxoffice.clusterName" .root) | trunc 16 | b64enc | trunc 22 }}
start.sh: |
  set -e
  bin=/opt/kafka/bin
  $bin/kafka-storage.sh format --ignore-formatted -t {{ $id }} -c /etc/boxoffice/server.properties
  exec $bin/kafka-server-start.sh /etc/boxoffice/server.properties
server.properties: |
  process.roles=broker,controller
  node.id=1
  controller.quorum.voters=1@localhost:9093
  controller.listener.names=CONTROLLER
  listeners=PLAINTEXT://:9092,CONTROLLER://localhost:9093
  advertised.listeners=PLAINTEXT://{{ include "boxoffice.fullname" .root }}-kafka.{{ .root.Release.Namespace }}.svc:9092
  listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
  log.dirs=/data/kafka
  auto.create.topics.enable=false
  offsets.topic.num.partitions=3
  offsets.topic.replication.factor=1
  transaction.state.log.replication.factor=1
  transaction.state.log.min.isr=1
  group.initial.rebalance.delay.ms=0
{{- end }}

{{/* A folder that is half made is made anew. */}}
{{- define "boxoffice.dev.mysql" -}}
start.sh: |
  set -e
  if [ ! -d /data/mysql ]; then
    rm -rf /data/making
    mysqld --defaults-file=/etc/boxoffice/my.cnf --initialize-insecure --datadir=/data/making
    mv /data/making /data/mysql
  fi
  exec mysqld --defaults-file=/etc/boxoffice/my.cnf --init-file=/etc/boxoffice/init.sql
my.cnf: |
  [mysqld]
  datadir=/data/mysql
  socket=/tmp/mysqld.sock
  pid-file=/tmp/mysqld.pid
  tmpdir=/tmp
  port=3306
  bind-address=*
  skip-name-resolve=ON
  innodb-buffer-pool-size={{ div .memory 2 }}M
  innodb-flush-log-at-trx-commit=1
  sync-binlog=1
  performance-schema=OFF
  loose-mysqlx=OFF
  secure-file-priv=NULL
init.sql: |
  CREATE DATABASE IF NOT EXISTS boxoffice CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  CREATE DATABASE IF NOT EXISTS gateway CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
  {{- range $user, $rights := dict "boxoffice" "ALL" "boxoffice_reader" "SELECT" }}
  CREATE USER IF NOT EXISTS {{ $user }}@'%' IDENTIFIED BY '{{ $.root.Values.dev.password }}';
  ALTER USER {{ $user }}@'%' IDENTIFIED BY '{{ $.root.Values.dev.password }}';
  GRANT {{ $rights }} ON `boxoffice%`.* TO {{ $user }}@'%';
  {{- end }}
  GRANT ALL ON gateway.* TO boxoffice@'%';
{{- if .root.Values.dev.prometheus.enabled }}
exporter.yml: |
  process_names:
    - name: mysqld
      cmdline: ["--defaults-file=/etc/boxoffice/my.cnf"]
{{- end }}
{{- end }}
