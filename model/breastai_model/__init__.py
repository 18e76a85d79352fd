"""The prediction model: Case to Prediction. Knows no names, no DICOM, no windows."""
