"""The fields of a job: a row for each option (`option`, `spec`), the units of values, the page that documents them."""
