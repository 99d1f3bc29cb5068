{{/* The chart's name, as short as a label value must be. */}}
{{- define "ampacity.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of every object of the release: the release name, with the chart's name unless it is in there already. */}}
{{- define "ampacity.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "ampacity.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "ampacity.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ampacity.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "ampacity.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "ampacity.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ampacity.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ampacity.labels" -}}
{{ include "ampacity.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "ampacity.image" -}}
{{- $repository := required "image.repository is needed: no image is published yet, so build one with the Dockerfile of the project and push it to a registry of yours" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* Fails where the hub's API server is too old: the rules of the CRDs and DRA v1, which the hub reads of its own nodes, are from here on. */}}
{{- define "ampacity.requireHubVersion" -}}
{{- if not (semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "the hub must run Kubernetes 1.34 or newer, this cluster runs %s; a member may be older: install there with memberOnly=true" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}
