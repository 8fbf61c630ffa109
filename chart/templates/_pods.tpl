{{/* What the pods of Boxoffice have in common. */}}

{{/*
(root, parts): the Secrets that a process reads, as a list of
{name, secret, optional, items: {key: setting that names its file}}.
A missing one whose content is a setting is waited for by the process itself, which says so; certificates are the
kubelet's to wait for.
*/}}
{{- define "boxoffice.secretsOf" -}}
{{- $root := .root }}
{{- $dev := $root.Values.dev.enabled }}
{{- $full := include "boxoffice.fullname" $root }}
{{- $v := $root.Values }}
{{- if has "store" .parts }}
- {name: store, secret: {{ ternary (printf "%s-dev-store" $full) $v.store.secretName $dev }}, optional: true, items: {url: STORE_URL_FILE}}
{{- if and $v.store.caSecretName (not $dev) }}
- {name: store-ca, secret: {{ $v.store.caSecretName }}, items: {ca.crt: STORE_CA_FILE}}
{{- end }}
{{- end }}
{{- if and (has "log" .parts) (not $dev) }}
{{- with $v.log.caSecretName }}
- {name: log-ca, secret: {{ . }}, items: {ca.crt: LOG_CA_FILE}}
{{- end }}
{{- with $v.log.clientSecretName }}
- {name: log-client, secret: {{ . }}, items: {tls.crt: LOG_CERT_FILE, tls.key: LOG_KEY_FILE}}
{{- end }}
{{- with $v.log.passwordSecretName }}
- {name: log-password, secret: {{ . }}, optional: true, items: {password: LOG_PASSWORD_FILE}}
{{- end }}
{{- end }}
{{- $reads := and (has "reader" .parts) (or $dev $v.ledger.readerSecretName) }}
{{- if or (has "ledger" .parts) (has "migrate" .parts) }}
{{- $name := $v.ledger.secretName }}
{{- if has "migrate" .parts }}{{ $name = $v.ledger.migrateSecretName | default $name }}{{ end }}
- {name: ledger, secret: {{ ternary (printf "%s-dev-ledger" $full) $name $dev }}, optional: true, items: {url: LEDGER_URL_FILE}}
{{- end }}
{{- if and $v.ledger.caSecretName (not $dev) (or $reads (has "ledger" .parts) (has "migrate" .parts)) }}
- {name: ledger-ca, secret: {{ $v.ledger.caSecretName }}, items: {ca.crt: LEDGER_CA_FILE}}
{{- end }}
{{- if $reads }}
- {name: ledger-reader, secret: {{ ternary (printf "%s-dev-reader" $full) $v.ledger.readerSecretName $dev }}, optional: true, items: {url: LEDGER_READER_URL_FILE}}
{{- end }}
{{- if has "gateway" .parts }}
- {name: gateway, secret: {{ ternary (printf "%s-dev-gateway" $full) $v.gateway.secretName $dev }}, optional: true, items: {url: GATEWAY_URL_FILE}}
{{- end }}
{{- if has "keys" .parts }}
- {name: keys, secret: {{ include "boxoffice.keysName" $root }}, optional: true, items: {keys: KEYS_FILE, place-key: PLACE_KEY_FILE}}
{{- end }}
{{- if has "admin" .parts }}
- {name: admin, secret: {{ include "boxoffice.adminName" $root }}, optional: true, items: {token-sha256: ADMIN_TOKEN_SHA256_FILE}}
{{- end }}
{{- end }}

{{/* (root, parts, more): the environment; `more` are settings of this process alone. */}}
{{- define "boxoffice.env" -}}
{{- $v := .root.Values }}
{{- $settings := dict "INSTANCE" (include "boxoffice.instance" .root) "HOST" (include "boxoffice.host" .root) "LOG_FORMAT" $v.logFormat }}
{{- if and $v.traces.url (has "traces" .parts) }}
{{- $_ := set $settings "TRACES_URL" $v.traces.url }}
{{- $_ := set $settings "TRACES_RATIO" $v.traces.ratio }}
{{- end }}
{{- if has "log" .parts }}
{{- if $v.dev.enabled }}
{{- $_ := set $settings "LOG_URL" (printf "kafka://%s-kafka:9092" (include "boxoffice.fullname" .root)) }}
{{- $_ := set $settings "LOG_REPLICAS" "1" }}
{{- else }}
{{- $_ := set $settings "LOG_URL" $v.log.url }}
{{- $_ := set $settings "LOG_REPLICAS" $v.log.replicas }}
{{- if $v.log.sasl }}
{{- $_ := set $settings "LOG_SASL" $v.log.sasl }}
{{- $_ := set $settings "LOG_USER" $v.log.user }}
{{- end }}
{{- end }}
{{- $_ := set $settings "LOG_PARTITIONS" $v.log.partitions }}
{{- end }}
{{- if has "ledger" .parts }}{{ $_ := set $settings "LEDGER_POOL" $v.ledger.pool }}{{ end }}
{{- range $name, $value := merge $settings (.more | default dict) }}
- {name: BOXOFFICE_{{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- range include "boxoffice.secretsOf" . | fromYamlArray }}
{{- $mount := printf "/run/secrets/boxoffice/%s/%s" .name .secret }}
{{- range $key, $setting := .items }}
- {name: BOXOFFICE_{{ $setting }}, value: {{ $mount }}/{{ $key }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The address to listen on: all of the families that the services have. */}}
{{- define "boxoffice.host" -}}
{{- if hasSuffix "DualStack" .Values.ipFamilyPolicy }}
{{- else if eq (first .Values.ipFamilies | default "") "IPv6" }}::
{{- else }}0.0.0.0
{{- end }}
{{- end }}

{{- define "boxoffice.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- range include "boxoffice.secretsOf" . | fromYamlArray }}
- {name: {{ .name }}, mountPath: /run/secrets/boxoffice/{{ .name }}/{{ .secret }}, readOnly: true}
{{- end }}
{{- end }}

{{/* Files belong to root and to the pod's group, which may read them: 0400 becomes 0440. */}}
{{- define "boxoffice.volumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 64Mi}}
{{- range include "boxoffice.secretsOf" . | fromYamlArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0400
    {{- if .optional }}
    optional: true
    {{- end }}
    items:
      {{- range $key, $_ := .items }}
      - {key: {{ $key }}, path: {{ $key }}}
      {{- end }}
{{- end }}
{{- end }}

{{/* What PodSecurity `restricted` asks of a pod; without service links, because a Service named boxoffice would set
BOXOFFICE_PORT. */}}
{{- define "boxoffice.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "boxoffice.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* (root, component, of): where pods go; `of` are the component's own values. */}}
{{- define "boxoffice.placing" -}}
{{- $root := .root }}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
tolerations:
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 20}
  - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 20}
  {{- with .of.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
topologySpreadConstraints:
  {{- $spread := dict "topology.kubernetes.io/zone" $root.Values.topologySpread.zones "kubernetes.io/hostname" $root.Values.topologySpread.nodes }}
  {{- range $key, $unsatisfiable := $spread }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $unsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "boxoffice.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- $class := .of.priorityClassName }}
{{- if and (not $class) $root.Values.priorityClasses.create (has .component (list "app" "settle")) }}
{{- $class = printf "%s-%s" (include "boxoffice.clusterName" $root) .component }}
{{- end }}
{{- with $class }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Seconds from the decision to end a pod to SIGKILL: preStop, the drain, and the clients' goodbyes. */}}
{{- define "boxoffice.grace" -}}
{{ add .Values.shutdown.preStopSeconds .Values.shutdown.drainSeconds 10 }}
{{- end }}

{{/* A process that begins has a minute to bind its port; then life is the event loop's turning, and nothing else. */}}
{{- define "boxoffice.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 3
{{- end }}

{{/*
(root, component, of, parts, more, port, args, sleeps, program, token): the pod template of a Deployment. `program` is
run in place of `boxoffice`; with `token` it may speak to Kubernetes.
*/}}
{{- define "boxoffice.template" -}}
metadata:
  labels:
    {{- include "boxoffice.labels" . | nindent 4 }}
  {{- $annotations := .of.podAnnotations }}
  {{- if .root.Values.dev.enabled }}
  {{- /* Another password makes new pods; of Secrets outside the release nothing is known here. */}}
  {{- $annotations = merge (dict "boxoffice.dev/engines" (sha256sum .root.Values.dev.password | trunc 16)) $annotations }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "boxoffice.fullname" .root }}-{{ .component }}
  {{- $pod := include "boxoffice.pod" .root | fromYaml }}
  {{- $_ := set $pod "automountServiceAccountToken" (not (empty .token)) }}
  {{- toYaml $pod | nindent 2 }}
  {{- include "boxoffice.placing" . | nindent 2 }}
  terminationGracePeriodSeconds: {{ include "boxoffice.grace" .root }}
  containers:
    - name: {{ .component }}
      image: {{ include "boxoffice.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      {{- with .program }}
      command: [{{ . }}]
      {{- end }}
      args: {{ toJson .args }}
      env:
        {{- include "boxoffice.env" . | nindent 8 }}
      ports:
        - {name: http, containerPort: {{ .port }}}
      {{- if .sleeps }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ .root.Values.shutdown.preStopSeconds }}}
      {{- end }}
      {{- include "boxoffice.probes" .root | nindent 6 }}
      resources:
        {{- toYaml .of.resources | nindent 8 }}
      securityContext:
        {{- include "boxoffice.container" .root | nindent 8 }}
      terminationMessagePolicy: FallbackToLogsOnError
      volumeMounts:
        {{- include "boxoffice.mounts" . | nindent 8 }}
        {{- if and (eq .component "app") .root.Values.public.oidc.jwksConfigMapName }}
        - {name: jwks, mountPath: /etc/boxoffice/jwks, readOnly: true}
        {{- end }}
  volumes:
    {{- include "boxoffice.volumes" . | nindent 4 }}
    {{- if and (eq .component "app") .root.Values.public.oidc.jwksConfigMapName }}
    - {name: jwks, configMap: {name: {{ .root.Values.public.oidc.jwksConfigMapName }}}}
    {{- end }}
{{- end }}

{{- define "boxoffice.families" -}}
{{- with .Values.ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.ipFamilies }}
ipFamilies: {{ toJson . }}
{{- end }}
{{- end }}
