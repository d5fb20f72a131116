variable "release_name" {
  description = "Name of the Helm release; the names of all objects begin with it."
  type        = string
  default     = "wolfpack"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.release_name))
    error_message = "The name has to be 1 to 31 of a-z, 0-9 and -, and to begin with a letter."
  }
}

variable "namespace" {
  description = "Namespace of the release. It has to hold the Secret already, so it has to be there."
  type        = string
  default     = "wolfpack"
}

variable "chart" {
  description = "The chart: a path, or its place in a registry. Default: the one beside this module."
  type        = string
  default     = null
}

variable "chart_version" {
  description = "Version of a chart from a registry; null for a path."
  type        = string
  default     = null
}

variable "host" {
  description = "Under which name users and agents come, such as wolfpack.example.com."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", var.host))
    error_message = "The host has to be a name, not a URL."
  }
}

variable "existing_secret" {
  description = "Secret with database-url, api-key-secret and metrics-token. The module never sees what is in it, so no state does."
  type        = string
  default     = "wolfpack-control-plane"
}

variable "image_repository" {
  description = "Where the nodes pull the control plane's image from."
  type        = string
}

variable "image_tag" {
  description = "Version of the control plane. Empty: the chart's."
  type        = string
  default     = ""

  validation {
    condition     = var.image_tag != "latest"
    error_message = "A version: latest cannot be rolled back to."
  }
}

variable "trusted_proxies" {
  description = "Networks of the ingress controller's pods, whose X-Forwarded-* is believed."
  type        = list(string)
  default     = []
}

variable "settings" {
  description = "More variables of docs/operations/configuration.md. No secrets."
  type        = map(string)
  default     = {}
}

variable "replicas" {
  description = "The fewest and the most replicas. The same number twice: as many, without autoscaling."
  type = object({
    min = number
    max = number
  })
  default = {
    min = 2
    max = 8
  }

  validation {
    condition     = var.replicas.min >= 1 && var.replicas.max >= var.replicas.min
    error_message = "At least one replica, and no fewer at most than at least."
  }
}

variable "ingress_class" {
  description = "Class of the ingress controller."
  type        = string
  default     = "nginx"
}

variable "tls_secret" {
  description = "Secret with the certificate of the host."
  type        = string
  default     = "wolfpack-tls"
}

variable "service_monitor" {
  description = "Whether the Prometheus operator is there to read the metrics."
  type        = bool
  default     = true
}

variable "values" {
  description = "Further values of the chart, which win over all others."
  type        = any
  default     = {}
}

variable "timeout_seconds" {
  description = "How long an installation or upgrade may take before it is rolled back: each replica has to drain."
  type        = number
  default     = 900
}
