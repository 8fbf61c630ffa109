{{/* What things are called. */}}

{{- define "boxoffice.name" -}}
{{ .Values.nameOverride | default .Chart.Name }}
{{- end }}

{{- define "boxoffice.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else if contains (include "boxoffice.name" .) .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name (include "boxoffice.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* No dot can stand in a namespace or a name, so that two of them never make the same instance. */}}
{{- define "boxoffice.instance" -}}
{{ .Values.instance | default (printf "%s.%s" .Release.Namespace (include "boxoffice.fullname" .)) }}
{{- end }}

{{/* For cluster-wide objects. */}}
{{- define "boxoffice.clusterName" -}}
{{ printf "%s-%s" .Release.Namespace (include "boxoffice.fullname" .) }}
{{- end }}

{{/* (root, component) */}}
{{- define "boxoffice.selector" -}}
app.kubernetes.io/name: {{ include "boxoffice.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "boxoffice.labels" -}}
{{ include "boxoffice.selector" . }}
app.kubernetes.io/part-of: boxoffice
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of pods that another version of ours must not begin anew: engines in the middle of a sale. */}}
{{- define "boxoffice.lasting" -}}
{{ include "boxoffice.selector" . }}
app.kubernetes.io/part-of: boxoffice
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* (root, component) */}}
{{- define "boxoffice.metadata" -}}
name: {{ include "boxoffice.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "boxoffice.labels" . | nindent 2 }}
{{- end }}

{{/* (root, image): behind the registry of one's own. */}}
{{- define "boxoffice.imageOf" -}}
{{- with .root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image }}
{{- end }}

{{- define "boxoffice.image" -}}
{{- $i := .Values.image }}
{{- $name := printf "%s:%s" $i.repository ($i.tag | default .Chart.AppVersion) }}
{{- if $i.digest }}{{ $name = printf "%s@%s" $i.repository $i.digest }}{{ end }}
{{- include "boxoffice.imageOf" (dict "root" . "image" $name) }}
{{- end }}

{{- define "boxoffice.keysName" -}}
{{ .Values.secrets.keysName | default (printf "%s-keys" (include "boxoffice.fullname" .)) }}
{{- end }}

{{- define "boxoffice.adminName" -}}
{{ .Values.secrets.adminName | default (printf "%s-admin" (include "boxoffice.fullname" .)) }}
{{- end }}

{{- define "boxoffice.prometheusUrl" -}}
{{- if .Values.prometheusUrl }}{{ .Values.prometheusUrl }}
{{- else if and .Values.dev.enabled .Values.dev.prometheus.enabled }}http://{{ include "boxoffice.fullname" . }}-prometheus.{{ .Release.Namespace }}:9090
{{- end }}
{{- end }}

{{/* What the operator may raise before a sale opens, and the floor that it has otherwise. */}}
{{- define "boxoffice.scales" -}}
{{- $words := list }}
{{- range $component := list "app" "settle" }}
{{- $of := index $.Values $component }}
{{- $kind := dict "None" "Deployment" "HPA" "HorizontalPodAutoscaler" "KEDA" "ScaledObject" }}
{{- $floor := ternary $of.replicas $of.autoscaling.minReplicas (eq $of.autoscaling.kind "None") }}
{{- $words = append $words (printf "%s=%s/%s-%s:%v" $component (index $kind $of.autoscaling.kind) (include "boxoffice.fullname" $) $component $floor) }}
{{- end }}
{{- join "," $words }}
{{- end }}

{{/* A quantity of memory, such as 512Mi or 1Gi, in MiB. */}}
{{- define "boxoffice.mebibytes" -}}
{{- if hasSuffix "Gi" . }}{{ mul (trimSuffix "Gi" . | int) 1024 }}
{{- else if hasSuffix "Mi" . }}{{ trimSuffix "Mi" . | int }}
{{- else }}{{ fail (printf "memory of a dev engine must be given in Mi or Gi, not %s" .) }}
{{- end }}
{{- end }}
