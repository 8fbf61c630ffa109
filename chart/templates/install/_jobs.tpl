{{/* (root, component, args, parts, of, more, account): the spec of a Job that runs one command to its end. */}}
{{- define "boxoffice.job" -}}
backoffLimit: 4
activeDeadlineSeconds: {{ .root.Values.migrate.deadlineSeconds }}
template:
  metadata:
    labels:
      {{- include "boxoffice.labels" . | nindent 6 }}
  spec:
    {{- with .account }}
    serviceAccountName: {{ . }}
    {{- end }}
    {{- $pod := include "boxoffice.pod" .root | fromYaml }}
    {{- $_ := set $pod "automountServiceAccountToken" (not (empty .account)) }}
    {{- toYaml $pod | nindent 4 }}
    restartPolicy: Never
    terminationGracePeriodSeconds: 5
    containers:
      - name: {{ .component }}
        image: {{ include "boxoffice.image" .root }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        args: {{ toJson .args }}
        env:
          {{- include "boxoffice.env" . | nindent 10 }}
        resources:
          {{- toYaml .root.Values.migrate.resources | nindent 10 }}
        securityContext:
          {{- include "boxoffice.container" .root | nindent 10 }}
        terminationMessagePolicy: FallbackToLogsOnError
        volumeMounts:
          {{- include "boxoffice.mounts" . | nindent 10 }}
    volumes:
      {{- include "boxoffice.volumes" . | nindent 6 }}
{{- end }}
