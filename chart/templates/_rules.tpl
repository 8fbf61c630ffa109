{{/* Recording and alerting rules, with this release's values in the place of the defaults. */}}
{{- define "boxoffice.rules" -}}
{{ .Files.Get "rules.yaml"
  | replace "docs/runbooks/" (printf "%s/" (trimSuffix "/" .Values.alerts.runbooksUrl))
  | replace "(boxoffice_line_waiting) > 10000" (printf "(boxoffice_line_waiting) > %d" (int64 .Values.alerts.lineLong)) }}
{{- end }}
