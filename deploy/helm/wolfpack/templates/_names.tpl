{{- define "wolfpack.name" -}}
{{ .Release.Name }}-control-plane
{{- end }}

{{- define "wolfpack.selector" -}}
app.kubernetes.io/name: wolfpack-control-plane
{{- end }}

{{- define "wolfpack.labels" -}}
app.kubernetes.io/name: wolfpack-control-plane
app.kubernetes.io/part-of: wolfpack
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
