// Every word of the page in both languages, and numbers and times as each writes them.

import {moreLabels} from "./labels.js";
import {settings} from "./settings.js";

const ENGLISH = {
  skipToContent: "Skip to content", intendedUse: "Intended use", views: "Views", cells: "Cells", specimen: "Specimen", history: "History",
  settings: "Settings", documentation: "Documentation", disclaimer: "For research use only. Not for use in diagnostic procedures.",
  drop_cell: "Drop images of single white blood cells here, a folder or a zip of them; or paste one.",
  drop_field: "Drop photographed fields of smears here, a folder or a zip of them; or paste one. Every white cell in them is found.",
  imagesShow: "What the images show", kind_cell: "cell images", kind_field: "whole fields",
  chooseFiles: "Choose files", chooseFolder: "Choose a folder", trySamples: "Try five sample images", whatIsTaken:
    "JPEG, PNG, BMP, TIFF, WebP or DICOM, up to {limit} MB each. File names stay in this browser.",
  badZip: "“{name}” is no zip archive that can be read.", noImages: "There was no image in it.", tooLarge: "Left out, as they have more than {limit} MB: {names}.",
  filesTaken: "{count} images taken.", progress: "{done} of {total} done",
  askedAgain: "The service cannot be reached. It is asked again in {seconds}.",
  busy: "The service is busy. It is asked again in {seconds}.",
  cancelAll: "Cancel all", retryFailed: "Try {count} again", clear: "Clear", allDone: "{count} images analysed.",
  waiting: "Waiting", notAnalysed: "Not analysed", noCellsYet: "No images yet.",
  chooseCell: "Choose a cell to see its heatmap, its probabilities and its report.",
  chooseField: "Choose a field to see its cells.", fields: "Whole fields", whiteCells: "{count} white cells found",
  noWhiteCell: "No white cell was found in this field.", foundCells: "Cells found",
  foundNote: "Choose one here or by its box; {next} and {previous} go to the next and previous one.",
  imageOfField: "The field, with a box for each cell found", fieldHelp: "Field with its cells. Plus and minus zoom, arrow keys move, Escape shows all.",
  fieldBroken: "This browser cannot show this picture; the annotated one can be had below it.",
  isCut: "cut by the frame", isClump: "perhaps several", box_sure: "no reason of its own for review", box_doubtful: "to review", box_unidentified: "perhaps no white cell",
  field_geojson: "GeoJSON", field_csv: "CSV", field_png: "Annotated picture",
  overview: "These images by class", toReview: "To review", noDifferential: "Single images make no differential.",
  loading: "Loading …",
  state_waiting: "waiting", state_running: "being analysed", state_failed: "failed", state_cancelled: "cancelled",
  review: "review", cancelOne: "Cancel {name}", retryOne: "Try {name} again",
  class: "Class", probability: "Probability", probabilities: "Calibrated probabilities",
  reviewNeeded: "A person should look at this cell", noReview:
    "No automatic check fired: confidence, second class, quality of the image, likeness to the training images, place of the heat.",
  noOtherReason: "No other automatic check fired; alone, that says little.", device_unknown:
    "This microscope is unknown to the service: answers are suggestions for a person to decide.",
  device_choose: "Choose its profile under Settings if it is one of the known ones; else make a profile, and audit it with “wbc audit-device”.",
  device_profiled: "This microscope has a profile but no passed audit: answers are suggestions for a person to decide. "
    + "Audit it with “wbc audit-device”.",
  device_contradicted: "These images do not look like those of profile “{profile}”: the microscope counts as unknown, and answers "
    + "are suggestions for a person to decide.",
  device_offered: "These images look like profile “{profile}”: if that is the microscope, choose it under Settings and send them again.",
  imageNotKept: "The image was not stored.", report: "Report", writtenBy: "Written by: {writer}",
  noReport: "No report was asked for.", reportComes: "The report is being written …",
  reportIsThere: "The report is there.", reportFailed: "The report could not be had; the result stands without it.",
  facts: "Model, profile and timings", focusRatio: "Focus ratio (heatmap on the cell)",
  focus_sound: "sound", focus_doubtful: "doubtful", focus_background: "on the background",
  focusShares: "Heatmap by region", nucleus: "nucleus", cytoplasm: "cytoplasm", background: "background",
  views_: "Views averaged", model: "Model", modelHash: "SHA-256 of the model", unknown: "unknown",
  profile: "Profile", imageSize: "Image", requestId: "Request", timings: "Time of each step", step: "Step",
  imageOfCell: "The image of the cell", viewerHelp:
    "Image with heatmap. Plus and minus zoom, arrow keys move, Escape shows all.",
  opacity: "Opacity", colourMap: "Colours", outlines: "Outlines", zoomIn: "Zoom in", zoomOut: "Zoom out",
  zoomReset: "Whole image", cold: "no weight", hot: "most weight", legendLabel: "Colours from no weight to most weight",
  noHeatmap: "The model server sent no heatmap.", heatmapComes: "The heatmap is being made …",
  heatmapOfField: "The cell was analysed in its field, from which no heatmap is kept.",
  heatmapFailed: "The heatmap could not be had; the result stands without it.", heatmapNotKept: "A small picture; the heatmap was not kept.",
  imageComes: "The image is being fetched …", showMore: "Show more",
  storedSpecimens: "Stored specimens", thisBrowser: "Cells seen in this browser", historyNote:
    "Results and small pictures, in this browser alone. Reports are not kept, and whole images only for their tab (see Settings).",
  forgetAll: "Forget all", nothingYet: "Nothing yet.", specimenId: "Specimen", state: "State", created: "Created",
  storeIsOff:
    "The service keeps no specimens: whoever runs it can switch that on by WBC_STORE__URL.",
  access: "Access", apiKey: "API key, if the service asks for one",
  apiKeyNote: "Kept until this tab is closed, and sent to this service alone.",
  noAccess: "The service asks who you are: give a key under Settings.", appearance: "Appearance", setting_language: "Language", setting_theme: "Theme",
  setting_palette: "Colours of the classes", themeSystem: "As the system", themeLight: "Light", themeDark: "Dark",
  paletteStandard: "Standard", paletteColourBlind: "For colour blindness (Okabe and Ito)", analysis: "Analysis",
  setting_profile: "Device profile", profileDefault: "The service's default", setting_tta: "Test-time augmentation",
  ttaProfile: "As the profile says", ttaNone: "One view", ttaAdaptive: "One view, eight where unclear", ttaLight: "Eight views",
  setting_writer: "Reports", writerConfigured: "As the service is set up", writerRules: "By rules, on this service alone",
  writerNone: "None", keepHistory: "Keep results in this browser", keepHistoryNote:
    "Here alone. Of the Cells view the whole images too, unencrypted and for their tab only, so that they are still there when the page "
    + "is loaded anew: until you clear or forget them. What is older than a day is deleted when this page is next opened; all of it at once when this is switched off.",
  keys: "Keys for reviewing", keysNote: "Go to a field and press the key that you want.", keyIsTaken: "“{key}” does something else already.",
  next: "Next", previous: "Previous", key_next: "Next cell", key_previous: "Previous cell", key_accept: "Accept", key_undo: "Undo", key_sign: "Sign",
  resetSettings: "Reset to defaults", offline: "The service cannot be reached. Is it running?",
  notReady: "The model is not ready yet; the page goes on when it is.", staysHere:
    "Images go to this service and no further. Reports are written on it by rules.",
  staysHereNoReports: "Images go to this service and no further. No reports are written.",
  leaves: "Images go to this service and no further. Figures of a result, never its image, go to {writers} for the report.",
  expired: "It took too long.", tooBusy: "The service is too busy. Try again in a while.", busyUntil: "The service is too busy. Try again in {seconds}.",
  specimenTitle: "Differential of a specimen", totalWbc: "White cell count (10⁹/L), if measured",
  analyseSpecimen: "Analyse {count} images", analyseNone: "Analyse", specimenNeedsId: "Give the specimen a name.",
  specimenIdNote: "The laboratory's own, no person's name.", totalIsWrong: "The white cell count is a number from 0.01 to 1000.",
  sending: "{count} images are being sent …", count: "Count", percentage: "%", interval: "95 % interval", absolute: "10⁹/L",
  reference: "Reference", low: "low", high: "high",
  reviewList: "To review ({count})", reviewDone: "Nothing waits for review.", accept: "Accept", undo: "Undo", sign: "Sign",
  signQuestion: "Afterwards nothing can be changed.", cancelSpecimen: "Cancel",
  counted: "{counted} of {total} cells counted", failedCells: "{count} failed", reviewCells: "{count} to review", minCells:
    "Fewer than {count} cells: no percentages are given.", adjusted: "Adjusted", adjustedNote:
    "Shares estimated from all probabilities, corrected for label shift (EM, Saerens 2002); to compare, not to report.",
  chartNote: "Bar: share in percent. Line: 95 % interval. Grey band: reference range.",
  about: "About this differential", orderedBy: "Requested by", totalWbcShort: "White cell count", serviceVersion: "Service",
  referenceSource: "Reference ranges", decisions: "Reviewed by a person", cell: "Cell", modelSaid: "Model", personSaid: "Person", who: "By",
  byClass: "All other cells, by class", withoutClass: "Without a class", countedElsewhere: "counted in another field", decided: "decided by a person", csvOfCells: "CSV of cells",
  export: "Export", print: "Print", trail: "Audit trail", signedBy: "Signed by {person}, {when}",
  cellNumber: "Cell {number}", reclassified: "{label} (was {before})", acceptedAs: "Accepted: {label}",
  reclassify: "Reclassify", changeKeys: "Change keys", placeInReview: "{at} of {count} to review", undone: "Cell {number}: taken back",
  reviewLater: "The review begins when all cells are analysed.", signUnreviewed: "{count} cells still wait for review.",
  act_ordered: "requested", act_analysed: "analysed", act_failed: "failed", act_searched: "searched a field", act_decided: "decided", act_undecided: "took back",
  fields: "The fields, with their cells", field: "Field", fieldCells: "{number} ({count} white cells)", drawCell: "Add a missed cell", drawNone: "Add none",
  addCell: "Add this cell", noCell: "No white cell: take it out (Artefact)", cellAdded: "Cell {number} was added: {label}", act_added: "added",
  fieldsNote: "Choose a cell by its box. What was missed can be added, and what is no white cell taken out; the audit trail tells of both.",
  drawHint: "Draw a box closely around the cell: drag, or click two corners; or move it with the arrow keys, size it with plus and minus, and press Enter. Escape ends it.",
  fieldNotKept: "The picture of this field is not kept, or not any more: no cell can be added to it.",
  act_signed: "signed", act_cancelled: "cancelled", act_audit_sample: "counted in the audit",
  adapt: "Teach", adaptTitle: "Teach it this microscope", teachIt: "Is it new? About ten cells of each class teach the service this microscope.",
  adaptNote: "Label about ten cells of each class, of two specimens or more. The images stay in this page until the service learns from them; it "
    + "keeps numbers, and no image. What is learnt stays off until you switch it on.",
  headsOff: "The service keeps no heads: whoever runs it names a folder for them by WBC_HEADS_DIR.",
  adaptSpecimen: "Specimen of the next images", labelThese: "Label these {count} cells", usefulFirst: "Most useful first", suggesting: "Looking for the most useful cells …",
  nextUseful: "To {goal} of each class, the next useful number: {by}", specimens: "Specimens", holdOut: "hold out",
  holdOutNote: "What is held out is scored and never learnt from. Hold out one whole specimen, at best: it is the only figure that nothing was chosen by.",
  learn: "Learn from these labels", learning: "Learning …", trustTitle: "What {head} would do",
  onLeftOut: "Cells of specimens left out", onHoldOut: "Cells held out", noHoldOut: "Nothing was held out: label a further specimen, and hold it out.",
  before: "before", withHead: "with the head", interval95: "95 % interval {low} to {high}", balancedAccuracy: "Balanced accuracy",
  keptClasses: "As the model has them, with too few cells to learn from: {classes}", curveTitle: "Balanced accuracy on specimens left out, by cells learnt",
  cellsOfEach: "Cells of each class", tenMore: "Ten more of a class would bring about: {classes}",
  lookAgain: "Look at these labels again: all else speaks against them", stillWrong: "Still wrong when their specimen is left out",
  notLearntFrom: "{count} images cannot be analysed; nothing was learnt from them.",
  headsTitle: "Versions", headAnswers: "{head} answers for this microscope.", modelAnswers: "The model’s own head answers.", headBroken: "Left out: {why}", specimenReserved: "No specimen can be called “{name}”: choose another name, and the images again.", headUnused: "The head that is switched on is not used: {why}", modelsOwn: "the model’s own", isOn: "on",
  canaryOn: "As the canary, {head} answers for {share} of images and specimens.", canaryUnused: "The canary does not answer: {why}", canaryAnswers: "In this process {head} answered {images} images, {review} of them for review.",
  canaryEnd: "End the canary", canaryBegin: "Answer a share", canaryTitle: "Let {head} answer a share?", canaryShare: "Of images and specimens",
  canaryQuestion: "From then on it answers for this share; the same image, and all images of a specimen, get the same head each time. Audits of the microscope do not hold for its answers.",
  shadowAgrees: "In the shadow, {head} answers nobody; in this process it agreed on {alike} of {images} images.", shadowUnused: "The head in the shadow is not compared: {why}",
  decision_recommended: "Recommended.", "decision_not better": "Not shown to be better: it takes a reason to switch it on.",
  "decision_too few": "Too few cells: it stays off. Label cells of a second specimen.",
  switchOn: "Switch on", switchTitle: "Switch {head} on?", switchQuestion: "From then on it answers for this microscope. An audit of the microscope holds no more.",
  reasonToSwitch: "Reason", rollBack: "Roll back", rollBackQuestion: "The head before this one answers again, or the model’s own.", whoDidWhat: "Who did what",
  head_made: "learnt", head_imported: "imported", "head_switched on": "switched on", "head_rolled back": "rolled back", "head_canary begun": "begun as the canary", "head_canary ended": "ended as the canary", head_shadowed: "put in the shadow", "head_shadow ended": "taken out of the shadow",
  audits: "Audits", auditsTitle: "Audits of microscopes", auditsNote:
    "May answers for a microscope's images go without a person? A plan is frozen, fresh cells are labelled by a person who does not "
    + "see the answers, and all is judged once. “wbc audit-device” makes the plan and adds the cells.",
  noAudits: "No audits yet. Whoever runs the service names their folder by WBC_AUDITS_DIR.", noSuchAudit: "There is no such audit.",
  audit: "Audit", plan: "The plan", plannedAt: "Planned", planHash: "SHA-256 of the plan", fromConfidence: "From confidence",
  cellsPlanned: "Cells at least", toRelease: "To be released where at least {target} are right (one-sided {confidence})",
  labelling: "Labelling", labelled: "{done} of {total} cells have a label", labelNote:
    "What the service answered is not shown before the verdict. “None of these” is for immature cells, erythroblasts and artefacts.",
  labelOther: "None of these", labelledAs: "Labelled: {label}", notLabelled: "No label yet", cellsAreMissing: "Cells are still to be added by “wbc audit-device add”.",
  auditImageMissing: "This service cannot read the file {name}: open it elsewhere, and label it here.",
  oneLook: "The one look", oneLookNote: "Everything is judged once, when all cells are there and have a label; nothing is added afterwards.",
  judge: "Judge", judgeTitle: "Judge this audit?", judgeQuestion: "There is one look. Afterwards no label can be changed and no cell added.",
  outcome: "The outcome", wrongOf: "Wrong", accuracyAtLeast: "Right at least", releasedClass: "released", notReleased: "not released",
  samplesChecked: "{count} released answers were checked since; the audit holds.", auditSuspended:
    "The audit has ended: persons found more of its sampled answers wrong than it allows. Nothing is released any more; begin a new one.",
  au_adding: "cells are missing", au_labelling: "being labelled", au_ready: "ready for the one look", au_judged: "judged", au_suspended: "ended",
  newOrder: "Request a differential", decide: "Decide", limitations: "What to know before using these figures",
  signTitle: "Sign this differential?", no: "Not yet", state_done: "analysed", notThere: "There is no such specimen.", closed: "No further changes are possible.",
  heat: "Heatmap", heat_over: "over the image", heat_beside: "beside it", heat_held: "while {key} is held", key_heat: "Heatmap on or off, while held",
  contours: "Contours at 50 and 80 %", close: "Close", sampleSpecimen: "Try a specimen of five samples", orderThese: "Request a differential of these {count} images",
  clearTitle: "Clear all?", clearQuestion: "{count} images and their results leave this page.",
  forgetTitle: "Forget all?", forgetQuestion: "What this browser kept of the cells it has seen is deleted.",
  pictureMissing: "There is no picture of this cell here, so it cannot be decided. Choose the images again: they are matched by what they hold.",
  pictureBroken: "This browser cannot show this picture. The cell does not count as looked at.", imagesAgain: "Choose the images again",
  imagesFound: "{count} images of {total} cells are here again.", signSeen: "{seen} of {total} cells were looked at in this browser.",
  pageFailed: "This page has failed: {what}. What was sent to the service is there.", loadAgain: "Load the page again",
  redo: "Redo", decisionsPending: "{count} decisions are being kept …", decisionsWait: "{count} decisions are not kept yet:",
  decisionRefused: "Cell {number} was not kept as {label}, and is again what it was: {why}",
  undoRefused: "Cell {number}: the decision could not be taken back: {why}",
  decidedMeanwhile: "Cell {number} was decided meanwhile by {person}: {label}.",
  addedMeanwhile: "Cell {number} was added meanwhile by {person}.",
  undoneMeanwhile: "The decision about cell {number} was taken back meanwhile.",
  yoursNotKept: "Your {label} was not kept.", stillThere: "You did not take it back.",
  notSignedChanged: "It is not signed. {what} Look, and sign again.",
  notSigned: "It is not signed: a decision was not kept. Look at the cell named above, and sign again.",
  gallery: "Gallery", key_gallery: "Gallery of all cells", allCells: "All cells, by class", sort: "Sort", filter: "Show", size: "Size",
  "gallery-sort_number": "by number", "gallery-sort_doubt": "least sure first", "gallery-sort_second": "by second class",
  "gallery-filter_all": "all", "gallery-filter_waiting": "to review", "gallery-filter_decided": "decided by a person",
  pick: "Select cell {number}", picked: "{count} selected", pickNone: "Select none", pickFirst: "Select cells first.",
  moreLabels: "More labels", partOf: "of which {label}", per100: "{label}, per 100 white cells",
  acceptAll: "Accept these {count}", saidOf: "{count} cells decided.", unseenLeft: "{count} were not on the screen yet and are left.",
  comments: "Comments", comment: "Comment", key_comment: "Comment on the cell", commentOnCell: "Comment on this cell", commentOnSpecimen: "Comment on the specimen",
  addendum: "Addendum", addAddendum: "Add to what is signed", send: "Send", commentKeys: "Ctrl+Enter sends, Escape leaves.", commentKept: "The comment is kept.", commentRefused: "The comment is not kept: {why}",
  commentedMeanwhile: "{person} has written a comment meanwhile.", act_commented: "commented", act_addendum: "added an addendum",
  assignee: "Reviewed by", nobody: "nobody yet", you: "you", take: "Take", takeOver: "Take over", giveBack: "Give back", handOver: "Hand over …", handTo: "To whom",
  takenBy: "{person} has it now.", givenBack: "Nobody has it now.", takenMeanwhile: "{person} took it meanwhile: ask them, or take it over.",
  givenBackMeanwhile: "It was given back meanwhile: take it, if you want it.", act_assigned: "assigned", act_given_back: "gave back",
  signTaken: "{person} has taken this specimen. You may sign it all the same.", noneOfThese: "No specimen is like that.",
  othersDecided: "{count} cells were decided meanwhile by somebody else.", sayAgain: "Your key was not taken: press it again if you disagree.",
  "worklist-text": "Find", "worklist-textNote": "The specimen's whole name, or how the id of its order begins.", "worklist-state": "State",
  "worklist-state_open": "not closed", "worklist-state_analysed": "to sign", "worklist-state_running": "being analysed", "worklist-state_signed": "signed",
  "worklist-state_cancelled": "cancelled", "worklist-state_all": "all", "worklist-whose": "Whose", "worklist-whose_anybody": "anybody's", "worklist-whose_mine": "mine",
  "worklist-whose_nobody": "nobody's", "worklist-age": "Age", "worklist-age_any": "any", "worklist-age_newer": "under 24 hours", "worklist-age_older": "over 24 hours",
  "worklist-review": "only with cells to review",
  st_waiting: "waiting", st_running: "being analysed", st_analysed: "not signed yet", st_signed: "signed", st_cancelled: "cancelled",
  sizes: "Cell {cell}, nucleus {nucleus} in diameter; the nucleus is {share} of the cell's area.",
  cellsWithPictures: "Counted cells with their pictures ({count})", onPaperNote: "By what each counts as; ✓: a person has decided. All at one scale, but for cells larger than nearly all others.",
  printComes: "The pictures of the cells are put on paper …",
  compare: "To compare", mostAlike: "Decided, and most like it", decidedAs: "Decided: {label}", painted: "painted", paintedCell: "{label}, painted, not a photograph",
  // The criteria of the blood film in stained light microscopy (B. J. Bain, Blood Cells, 5th ed., 2015, chapter 3; ICSH, Palmer et al., 2015).
  apart_Basophil_Eosinophil:
    "Basophil: dark violet granules, coarse and of unequal size, that cover the nucleus. Eosinophil: even, round, orange-red granules that fill the cytoplasm; the nucleus, mostly of two lobes, lies open.",
  apart_Basophil_Lymphocyte:
    "Basophil: coarse dark violet granules over a nucleus of vague lobes. Lymphocyte: round nucleus of dense, clumped chromatin in a rim of clear blue cytoplasm with no or few fine granules.",
  apart_Basophil_Monocyte:
    "Basophil: coarse dark violet granules that cover the nucleus. Monocyte: large; folded nucleus of lacy chromatin, plenty of grey-blue cytoplasm with dust-like granules and often vacuoles.",
  apart_Basophil_Neutrophil:
    "Basophil: coarse dark violet granules, also over the nucleus, of vague lobes. Neutrophil: fine lilac granules in pink cytoplasm (dark but fine where toxic), dense lobes joined by threads, or a band.",
  apart_Eosinophil_Lymphocyte:
    "Eosinophil: coarse, even, orange-red granules that fill the cytoplasm, nucleus mostly of two lobes. Lymphocyte: round nucleus of clumped chromatin, a rim of clear blue cytoplasm with no or few granules.",
  apart_Eosinophil_Monocyte:
    "Eosinophil: coarse, even, orange-red granules, nucleus mostly of two dense lobes. Monocyte: folded nucleus of lacy chromatin, grey-blue cytoplasm with dust-like granules and often vacuoles.",
  apart_Eosinophil_Neutrophil:
    "Eosinophil: coarse, even, round, orange-red granules that shine, mostly two lobes. Neutrophil: fine lilac granules in pink cytoplasm, two to five lobes joined by threads, or a band.",
  apart_Lymphocyte_Monocyte:
    "Lymphocyte: round or slightly indented nucleus of dense, clumped chromatin that takes most of the cell; clear blue cytoplasm. Monocyte: larger; folded nucleus of lacy chromatin, more cytoplasm, grey-blue, dusty, often with vacuoles.",
  apart_Lymphocyte_Neutrophil:
    "Lymphocyte: one round nucleus, a rim of clear blue cytoplasm without fine granules. Neutrophil: nucleus of two to five lobes joined by threads, or a band; plenty of pink cytoplasm with fine lilac granules.",
  apart_Monocyte_Neutrophil:
    "Monocyte: broad, folded nucleus of lacy chromatin, grey-blue cytoplasm, often with vacuoles. Neutrophil, a band too: narrow nucleus or lobes of dense, clumped chromatin, pink cytoplasm with fine lilac granules.",
};

const TURKISH = {
  skipToContent: "İçeriğe geç", intendedUse: "Kullanım amacı", views: "Görünümler", cells: "Hücreler", specimen: "Numune", history: "Geçmiş",
  settings: "Ayarlar", documentation: "Belgeler", disclaimer: "Yalnızca araştırma amaçlıdır. Tanı işlemlerinde kullanılamaz.",
  drop_cell: "Tek beyaz kan hücresi görüntülerini, bir klasörü ya da zip dosyasını buraya bırakın veya bir görüntü yapıştırın.",
  drop_field: "Yayma alanlarının fotoğraflarını, bir klasörü ya da zip dosyasını buraya bırakın veya birini yapıştırın. İçlerindeki her beyaz hücre bulunur.",
  imagesShow: "Görüntüler ne gösteriyor", kind_cell: "hücre görüntüleri", kind_field: "bütün alanlar",
  chooseFiles: "Dosya seç", chooseFolder: "Klasör seç", trySamples: "Beş örnek görüntü dene", whatIsTaken:
    "JPEG, PNG, BMP, TIFF, WebP ya da DICOM, her biri en çok {limit} MB. Dosya adları bu tarayıcıda kalır.",
  badZip: "“{name}” okunabilen bir zip arşivi değil.", noImages: "İçinde görüntü yok.", tooLarge: "{limit} MB'tan büyük oldukları için alınmayanlar: {names}.",
  filesTaken: "{count} görüntü alındı.", progress: "{done}/{total} görüntü bitti",
  askedAgain: "Hizmete ulaşılamıyor. {seconds} sonra yeniden denenecek.",
  busy: "Hizmet meşgul. {seconds} sonra yeniden sorulacak.",
  cancelAll: "Tümünü iptal et", retryFailed: "{count} tanesini yeniden dene", clear: "Temizle",
  allDone: "{count} görüntü incelendi.", waiting: "Bekleyen", notAnalysed: "İncelenmeyen", noCellsYet: "Henüz görüntü yok.",
  chooseCell: "Isı haritasını, olasılıklarını ve raporunu görmek için bir hücre seçin.",
  chooseField: "Hücrelerini görmek için bir alan seçin.", fields: "Bütün alanlar", whiteCells: "{count} beyaz hücre bulundu",
  noWhiteCell: "Bu alanda beyaz hücre bulunamadı.", foundCells: "Bulunan hücreler",
  foundNote: "Birini buradan ya da kutusundan seçin; {next} ve {previous} sonrakine ve öncekine geçer.",
  imageOfField: "Alan, bulunan her hücrenin kutusuyla", fieldHelp: "Hücreleriyle alan. Artı ve eksi yakınlaştırır, ok tuşları kaydırır, Escape tümünü gösterir.",
  fieldBroken: "Bu tarayıcı bu resmi gösteremiyor; işaretlenmiş olanı aşağıdan alınabilir.",
  isCut: "kenarda kesilmiş", isClump: "belki birkaç tane", box_sure: "kendine özgü inceleme nedeni yok", box_doubtful: "gözden geçirilecek", box_unidentified: "belki beyaz hücre değil",
  field_geojson: "GeoJSON", field_csv: "CSV", field_png: "İşaretlenmiş resim",
  overview: "Sınıflarına göre bu görüntüler", toReview: "Gözden geçirilecek", noDifferential: "Tek tek görüntülerden lökosit formülü çıkmaz.",
  loading: "Yükleniyor …",
  state_waiting: "bekliyor", state_running: "inceleniyor", state_failed: "başarısız", state_cancelled: "iptal edildi",
  review: "gözden geçir", cancelOne: "{name}: iptal et", retryOne: "{name}: yeniden dene",
  class: "Sınıf", probability: "Olasılık", probabilities: "Kalibre edilmiş olasılıklar",
  reviewNeeded: "Uzman incelemesi gerekli", noReview:
    "Hiçbir otomatik denetim uyarı vermedi: güven, ikinci sınıf, görüntü kalitesi, eğitim görüntülerine benzerlik, ısının yeri.",
  noOtherReason: "Başka bir otomatik denetim uyarı vermedi; bu tek başına pek bir şey söylemez.", device_unknown:
    "Hizmet bu mikroskobu tanımıyor: yanıtlar, bir kişinin karar vereceği önerilerdir.",
  device_choose: "Bilinen mikroskoplardan biriyse Ayarlar altında profilini seçin; değilse bir profil hazırlayıp “wbc audit-device” ile "
    + "denetleyin.",
  device_profiled: "Bu mikroskobun profili var ama geçilmiş bir denetimi yok: yanıtlar, bir kişinin karar vereceği "
    + "önerilerdir. “wbc audit-device” ile denetleyin.",
  device_contradicted: "Bu görüntüler “{profile}” profilinin görüntülerine benzemiyor: mikroskop bilinmeyen sayılır, yanıtlar bir "
    + "kişinin karar vereceği önerilerdir.",
  device_offered: "Bu görüntüler “{profile}” profiline benziyor: mikroskop buysa Ayarlar altında seçip yeniden gönderin.",
  imageNotKept: "Görüntünün kendisi saklanmadı.", report: "Rapor", writtenBy: "Yazan: {writer}",
  noReport: "Rapor istenmedi.", reportComes: "Rapor yazılıyor …", reportIsThere: "Rapor hazır.",
  reportFailed: "Rapor alınamadı; sonuç onsuz geçerlidir.",
  facts: "Model, profil ve süreler", focusRatio: "Odak oranı (ısı haritasının hücredeki payı)",
  focus_sound: "sağlam", focus_doubtful: "şüpheli", focus_background: "arka planda",
  focusShares: "Bölgelere göre ısı haritası", nucleus: "çekirdek", cytoplasm: "sitoplazma", background: "arka plan",
  views_: "Ortalaması alınan görünüm", model: "Model", modelHash: "Modelin SHA-256 özeti", unknown: "bilinmiyor",
  profile: "Profil", imageSize: "Görüntü", requestId: "İstek", timings: "Adımların süresi", step: "Adım",
  imageOfCell: "Hücrenin görüntüsü", viewerHelp:
    "Isı haritalı görüntü. Artı ve eksi yakınlaştırır, ok tuşları kaydırır, Escape tümünü gösterir.",
  opacity: "Opaklık", colourMap: "Renkler", outlines: "Sınırlar", zoomIn: "Yakınlaştır", zoomOut: "Uzaklaştır",
  zoomReset: "Tüm görüntü", cold: "ağırlık yok", hot: "en çok ağırlık", legendLabel: "En az ağırlıktan en çok ağırlığa renkler",
  noHeatmap: "Model sunucusu ısı haritası göndermedi.", heatmapComes: "Isı haritası hazırlanıyor …",
  heatmapOfField: "Hücre alanının içinde incelendi; oradan ısı haritası saklanmaz.",
  heatmapFailed: "Isı haritası alınamadı; sonuç onsuz geçerlidir.", heatmapNotKept: "Küçük bir resim; ısı haritası saklanmadı.",
  imageComes: "Görüntü alınıyor …", showMore: "Daha fazla göster",
  storedSpecimens: "Saklanan numuneler", thisBrowser: "Bu tarayıcıda görülen hücreler", historyNote:
    "Yalnızca bu tarayıcıda, sonuçlar ve küçük resimler. Raporlar saklanmaz; görüntülerin kendisi yalnızca sekmeleri için (bkz. Ayarlar).",
  forgetAll: "Tümünü unut", nothingYet: "Henüz bir şey yok.", specimenId: "Numune", state: "Durum", created: "Oluşturuldu",
  storeIsOff: "Hizmet numune saklamıyor: çalıştıran kişi WBC_STORE__URL ile açabilir.",
  access: "Erişim", apiKey: "API anahtarı, hizmet isterse",
  apiKeyNote: "Bu sekme kapanana dek tutulur, yalnızca bu hizmete gönderilir.",
  noAccess: "Hizmet kim olduğunuzu soruyor: Ayarlar altında bir anahtar verin.", appearance: "Görünüş", setting_language: "Dil", setting_theme: "Tema", setting_palette: "Sınıfların renkleri",
  themeSystem: "Sistemdeki gibi", themeLight: "Açık", themeDark: "Koyu", paletteStandard: "Standart",
  paletteColourBlind: "Renk körlüğü için (Okabe ve Ito)", analysis: "İnceleme", setting_profile: "Cihaz profili",
  profileDefault: "Hizmetin varsayılanı", setting_tta: "Test zamanı veri artırımı", ttaProfile: "Profildeki gibi",
  ttaNone: "Tek görünüm", ttaAdaptive: "Tek görünüm, belirsizse sekiz", ttaLight: "Sekiz görünüm",
  setting_writer: "Raporlar", writerConfigured: "Hizmetin ayarlandığı gibi", writerRules: "Kurallarla, yalnızca bu hizmette",
  writerNone: "Yazılmasın", keepHistory: "Sonuçları bu tarayıcıda sakla", keepHistoryNote:
    "Yalnızca burada. Hücreler görünümünün görüntüleri de, sayfa yeniden yüklenince dursun diye, şifrelenmeden ve yalnızca kendi sekmesi "
    + "için saklanır: siz temizleyene ya da unutturana dek. Bir günden eskiler bu sayfa bir daha açıldığında, burası kapatılınca da hepsi hemen silinir.",
  keys: "Gözden geçirme tuşları", keysNote: "Bir alana gidin ve istediğiniz tuşa basın.", keyIsTaken: "“{key}” tuşunun başka bir görevi var.",
  next: "Sonraki", previous: "Önceki", key_next: "Sonraki hücre", key_previous: "Önceki hücre", key_accept: "Kabul et", key_undo: "Geri al", key_sign: "İmzala",
  resetSettings: "Varsayılanlara dön", offline: "Hizmete ulaşılamıyor. Çalışıyor mu?",
  notReady: "Model henüz hazır değil; hazır olunca sayfa sürer.", staysHere:
    "Görüntüler bu hizmete gider, öteye geçmez. Raporları hizmetin kendisi kurallarla yazar.",
  staysHereNoReports: "Görüntüler bu hizmete gider, öteye geçmez. Rapor yazılmaz.",
  leaves: "Görüntüler bu hizmete gider, öteye geçmez. Rapor için sonucun sayıları {writers} hizmetine gider, görüntü asla.",
  expired: "Çok uzun sürdü.", tooBusy: "Hizmet çok meşgul. Bir süre sonra yeniden deneyin.", busyUntil: "Hizmet çok meşgul. {seconds} sonra yeniden deneyin.",
  specimenTitle: "Numunenin lökosit formülü", totalWbc: "Lökosit sayısı (10⁹/L), ölçüldüyse",
  analyseSpecimen: "{count} görüntüyü incele", analyseNone: "İncele", specimenNeedsId: "Numuneye bir ad verin.",
  specimenIdNote: "Laboratuvarın kendi adı; kişi adı olmasın.", totalIsWrong: "Lökosit sayısı 0,01 ile 1000 arasında bir sayıdır.",
  sending: "{count} görüntü gönderiliyor …", count: "Sayı", percentage: "%", interval: "%95 aralığı", absolute: "10⁹/L",
  reference: "Referans", low: "düşük", high: "yüksek",
  reviewList: "Gözden geçirilecek ({count})", reviewDone: "Gözden geçirilecek hücre kalmadı.", accept: "Kabul et",
  undo: "Geri al", sign: "İmzala", signQuestion: "Sonra hiçbir şey değiştirilemez.",
  cancelSpecimen: "İptal et", counted: "{counted}/{total} hücre sayıldı", failedCells: "{count} başarısız", reviewCells: "{count} gözden geçirilecek",
  minCells: "{count} hücreden az: yüzde verilmez.", adjusted: "Düzeltilmiş", adjustedNote:
    "Tüm olasılıklardan kestirilen, sınıf kaymasına göre düzeltilmiş paylar (EM, Saerens 2002); karşılaştırmak içindir, bildirilmez.",
  chartNote: "Çubuk: yüzde pay. Çizgi: %95 aralığı. Gri bant: referans aralığı.",
  about: "Bu formül hakkında", orderedBy: "İsteyen", totalWbcShort: "Lökosit sayısı", serviceVersion: "Hizmet",
  referenceSource: "Referans aralıkları", decisions: "Bir kişinin gözden geçirdikleri", cell: "Hücre", modelSaid: "Model", personSaid: "Kişi", who: "Kararı veren",
  byClass: "Diğer tüm hücreler, sınıflarına göre", withoutClass: "Sınıfı yok", countedElsewhere: "başka bir alanda sayıldı", decided: "bir kişi karar verdi", csvOfCells: "Hücrelerin CSV'si",
  export: "Dışa aktar", print: "Yazdır", trail: "Denetim izi", signedBy: "İmzalayan: {person}, {when}",
  cellNumber: "Hücre {number}", reclassified: "{label} (önce: {before})", acceptedAs: "Kabul edildi: {label}",
  reclassify: "Yeniden sınıfla", changeKeys: "Tuşları değiştir", placeInReview: "gözden geçirme {at} / {count}", undone: "Hücre {number}: geri alındı",
  reviewLater: "Gözden geçirme, tüm hücreler incelenince başlar.", signUnreviewed: "{count} hücre hâlâ gözden geçirilmeyi bekliyor.",
  act_ordered: "istedi", act_analysed: "inceledi", act_failed: "inceleyemedi", act_searched: "bir alanı taradı", act_decided: "karar verdi", act_undecided: "geri aldı",
  fields: "Alanlar ve içlerindeki hücreler", field: "Alan", fieldCells: "{number} ({count} beyaz hücre)", drawCell: "Atlanan hücreyi ekle", drawNone: "Ekleme",
  addCell: "Bu hücreyi ekle", noCell: "Beyaz hücre değil: çıkar (Artefakt)", cellAdded: "Hücre {number} eklendi: {label}", act_added: "ekledi",
  fieldsNote: "Hücreyi kutusundan seçin. Atlanan eklenebilir, beyaz hücre olmayan çıkarılabilir; denetim izi ikisini de gösterir.",
  drawHint: "Hücrenin çevresine sıkıca bir kutu çizin: sürükleyin ya da iki köşesine tıklayın; veya ok tuşlarıyla kaydırın, artı ve eksiyle büyütüp küçültün, Enter'a basın. Escape bitirir.",
  fieldNotKept: "Bu alanın resmi saklanmadı ya da artık saklanmıyor: ona hücre eklenemez.",
  act_signed: "imzaladı", act_cancelled: "iptal etti", act_audit_sample: "denetime saydı",
  adapt: "Öğret", adaptTitle: "Bu mikroskobu öğretin", teachIt: "Yeni mi? Her sınıftan yaklaşık on hücre bu mikroskobu hizmete öğretir.",
  adaptNote: "En az iki örnekten, her sınıftan yaklaşık on hücre etiketleyin. Görüntüler hizmet onlardan öğrenene kadar bu sayfada kalır; hizmet "
    + "sayıları saklar, görüntüleri saklamaz. Öğrenilen, siz açana kadar kapalı kalır.",
  headsOff: "Hizmet öğrenileni saklamıyor: onu çalıştıran, WBC_HEADS_DIR ile bir klasör belirtir.",
  adaptSpecimen: "Sonraki görüntülerin örneği", labelThese: "Bu {count} hücreyi etiketle", usefulFirst: "Önce en yararlılar", suggesting: "En yararlı hücreler aranıyor …",
  nextUseful: "Her sınıftan {goal} hücreye, bir sonraki yararlı sayıya: {by}", specimens: "Örnekler", holdOut: "ayır",
  holdOutNote: "Ayrılandan öğrenilmez, yalnızca onunla ölçülür. En iyisi bütün bir örneği ayırmaktır: hiçbir seçimin dayanmadığı tek ölçüm odur.",
  learn: "Bu etiketlerden öğren", learning: "Öğreniliyor …", trustTitle: "{head} ne yapardı",
  onLeftOut: "Dışarıda bırakılan örneklerin hücreleri", onHoldOut: "Ayrılan hücreler", noHoldOut: "Hiçbir şey ayrılmadı: bir örnek daha etiketleyip onu ayırın.",
  before: "önce", withHead: "öğrenilenle", interval95: "%95 aralığı {low} – {high}", balancedAccuracy: "Dengeli doğruluk",
  keptClasses: "Öğrenmeye yetecek hücresi olmayan, modeldeki gibi kalanlar: {classes}", curveTitle: "Dışarıda bırakılan örneklerde, öğrenilen hücre sayısına göre dengeli doğruluk",
  cellsOfEach: "Her sınıftan hücre", tenMore: "Bir sınıftan on hücre daha yaklaşık şunu kazandırır: {classes}",
  lookAgain: "Bu etiketlere yeniden bakın: her şey onlara karşı", stillWrong: "Örneği dışarıda bırakılınca hâlâ yanlış",
  notLearntFrom: "{count} görüntü incelenemiyor; onlardan bir şey öğrenilmedi.",
  headsTitle: "Sürümler", headAnswers: "Bu mikroskop için {head} yanıtlıyor.", modelAnswers: "Modelin kendisi yanıtlıyor.", headBroken: "Dışarıda bırakıldı: {why}", specimenReserved: "Hiçbir örneğin adı “{name}” olamaz: başka bir ad seçip görüntüleri yeniden seçin.", headUnused: "Açık olan sürüm kullanılmıyor: {why}", modelsOwn: "modelin kendisi", isOn: "açık",
  canaryOn: "Görüntü ve örneklerin {share} kadarını deneme olarak {head} yanıtlıyor.", canaryUnused: "Denenen sürüm yanıtlamıyor: {why}", canaryAnswers: "Bu süreçte {head}: {images} görüntü yanıtlandı, {review} tanesi inceleme istiyor.",
  canaryEnd: "Denemeyi bitir", canaryBegin: "Bir kısmını yanıtlasın", canaryTitle: "{head} bir kısmını yanıtlasın mı?", canaryShare: "Görüntü ve örneklerin payı",
  canaryQuestion: "O andan sonra bu kadarını o yanıtlar; aynı görüntü ve bir örneğin bütün görüntüleri her seferinde aynı sürümle yanıtlanır. Mikroskobun denetimi onun yanıtları için geçerli olmaz.",
  shadowAgrees: "Gölgedeki {head} kimseye yanıt vermiyor; bu süreçte {images} görüntünün {alike} tanesinde aynı yanıtı verdi.", shadowUnused: "Gölgedeki sürüm karşılaştırılmıyor: {why}",
  decision_recommended: "Önerilir.", "decision_not better": "Daha iyi olduğu gösterilmedi: açmak için bir gerekçe gerekir.",
  "decision_too few": "Hücreler çok az: kapalı kalır. İkinci bir örneğin hücrelerini etiketleyin.",
  switchOn: "Aç", switchTitle: "{head} açılsın mı?", switchQuestion: "O andan sonra bu mikroskop için o yanıtlar. Mikroskobun denetimi artık geçerli olmaz.",
  reasonToSwitch: "Gerekçe", rollBack: "Geri dön", rollBackQuestion: "Bundan önceki ya da modelin kendisi yeniden yanıtlar.", whoDidWhat: "Kim ne yaptı",
  head_made: "öğrendi", head_imported: "içe aktardı", "head_switched on": "açtı", "head_rolled back": "geri döndü", "head_canary begun": "denemeye aldı", "head_canary ended": "denemeyi bitirdi", head_shadowed: "gölgeye aldı", "head_shadow ended": "gölgeden çıkardı",
  audits: "Denetimler", auditsTitle: "Mikroskop denetimleri", auditsNote:
    "Bir mikroskobun görüntülerine verilen yanıtlar kişi görmeden geçebilir mi? Plan dondurulur, yeni hücreleri yanıtları görmeyen bir "
    + "kişi etiketler, hepsi bir kez değerlendirilir. Planı “wbc audit-device” yapar, hücreleri o ekler.",
  noAudits: "Henüz denetim yok. Hizmeti işleten, klasörlerini WBC_AUDITS_DIR ile bildirir.", noSuchAudit: "Böyle bir denetim yok.",
  audit: "Denetim", plan: "Plan", plannedAt: "Planlandı", planHash: "Planın SHA-256 değeri", fromConfidence: "En az güven",
  cellsPlanned: "En az hücre", toRelease: "En az {target} doğruysa onaylanacaklar (tek yanlı {confidence})",
  labelling: "Etiketleme", labelled: "{done}/{total} hücrenin etiketi var", labelNote:
    "Hizmetin yanıtı değerlendirmeden önce gösterilmez. “Hiçbiri”, olgunlaşmamış hücreler, eritroblastlar ve artefaktlar içindir.",
  labelOther: "Hiçbiri", labelledAs: "Etiketi: {label}", notLabelled: "Henüz etiketi yok", cellsAreMissing: "“wbc audit-device add” ile eklenecek hücreler var.",
  auditImageMissing: "Bu hizmet {name} dosyasını okuyamıyor: başka yerde açıp burada etiketleyin.",
  oneLook: "Tek bakış", oneLookNote: "Bütün hücreler gelip etiketlenince hepsi bir kez değerlendirilir; sonra bir şey eklenmez.",
  judge: "Değerlendir", judgeTitle: "Bu denetim değerlendirilsin mi?", judgeQuestion: "Bir kez bakılır. Sonra etiket değişmez, hücre eklenmez.",
  outcome: "Sonuç", wrongOf: "Yanlış", accuracyAtLeast: "En az doğruluk", releasedClass: "onaylandı", notReleased: "onaylanmadı",
  samplesChecked: "O zamandan beri onaylanan {count} yanıta bakıldı; denetim geçerli.", auditSuspended:
    "Denetim sona erdi: örnek yanıtların izin verilenden çoğu yanlıştı. Artık hiçbir yanıt onaylanmıyor; yenisini başlatın.",
  au_adding: "hücreler eksik", au_labelling: "etiketleniyor", au_ready: "tek bakışa hazır", au_judged: "değerlendirildi", au_suspended: "sona erdi",
  newOrder: "Lökosit formülü iste", decide: "Karar ver", limitations: "Bu sayıları kullanmadan önce bilinmesi gerekenler",
  signTitle: "Bu formül imzalansın mı?", no: "Henüz değil", state_done: "incelendi", notThere: "Böyle bir numune yok.", closed: "Artık değiştirilemez.",
  heat: "Isı haritası", heat_over: "görüntünün üstünde", heat_beside: "yanında", heat_held: "{key} basılıyken", key_heat: "Isı haritası aç ya da kapat, basılıyken",
  contours: "%50 ve %80 eş ısı çizgileri", close: "Kapat", sampleSpecimen: "Beş örnek görüntülük bir numune dene", orderThese: "Bu {count} görüntü için lökosit formülü iste",
  clearTitle: "Hepsi temizlensin mi?", clearQuestion: "{count} görüntü ve sonuçları bu sayfadan çıkar.",
  forgetTitle: "Hepsi unutulsun mu?", forgetQuestion: "Bu tarayıcının gördüğü hücrelerden sakladıkları silinir.",
  pictureMissing: "Bu hücrenin resmi burada yok, bu yüzden karar verilemez. Görüntüleri yeniden seçin: içeriklerine göre eşleştirilirler.",
  pictureBroken: "Bu tarayıcı bu resmi gösteremiyor. Hücreye bakılmış sayılmaz.", imagesAgain: "Görüntüleri yeniden seç",
  imagesFound: "{total} hücreden {count} tanesinin görüntüsü yeniden burada.", signSeen: "Bu tarayıcıda {seen}/{total} hücreye bakıldı.",
  pageFailed: "Bu sayfada bir hata oldu: {what}. Hizmete gönderilenler yerinde.", loadAgain: "Sayfayı yeniden yükle",
  redo: "Yinele", decisionsPending: "{count} karar kaydediliyor …", decisionsWait: "{count} karar henüz kaydedilmedi:",
  decisionRefused: "Hücre {number}, {label} olarak kaydedilemedi ve eski durumuna döndü: {why}",
  undoRefused: "Hücre {number}: karar geri alınamadı: {why}",
  decidedMeanwhile: "Hücre {number} hakkında bu arada {person} karar verdi: {label}.",
  addedMeanwhile: "Hücre {number} bu arada {person} tarafından eklendi.",
  undoneMeanwhile: "Hücre {number} hakkındaki karar bu arada geri alındı.",
  yoursNotKept: "Sizin {label} kararınız kaydedilmedi.", stillThere: "Siz geri almadınız.",
  notSignedChanged: "İmzalanmadı. {what} Bakın ve yeniden imzalayın.",
  notSigned: "İmzalanmadı: bir karar kaydedilemedi. Yukarıda adı geçen hücreye bakın ve yeniden imzalayın.",
  gallery: "Galeri", key_gallery: "Tüm hücrelerin galerisi", allCells: "Tüm hücreler, sınıflarına göre", sort: "Sırala", filter: "Göster", size: "Boyut",
  "gallery-sort_number": "numaraya göre", "gallery-sort_doubt": "en belirsiz önce", "gallery-sort_second": "ikinci sınıfa göre",
  "gallery-filter_all": "tümü", "gallery-filter_waiting": "incelenecekler", "gallery-filter_decided": "bir kişinin karar verdikleri",
  pick: "{number}. hücreyi seç", picked: "{count} seçili", pickNone: "Seçimi kaldır", pickFirst: "Önce hücre seçin.",
  moreLabels: "Diğer etiketler", partOf: "bunlardan {label}", per100: "{label}, 100 beyaz hücrede",
  acceptAll: "Bu {count} hücreyi onayla", saidOf: "{count} hücre için karar verildi.", unseenLeft: "{count} hücre henüz ekranda görülmedi, bırakıldı.",
  comments: "Yorumlar", comment: "Yorum", key_comment: "Hücreye yorum yaz", commentOnCell: "Bu hücreye yorum yaz", commentOnSpecimen: "Numuneye yorum yaz",
  addendum: "Ek not", addAddendum: "İmzalanana ek not yaz", send: "Gönder", commentKeys: "Ctrl+Enter gönderir, Escape çıkar.", commentKept: "Yorum kaydedildi.", commentRefused: "Yorum kaydedilmedi: {why}",
  commentedMeanwhile: "{person} bu arada bir yorum yazdı.", act_commented: "yorum yazdı", act_addendum: "ek not yazdı",
  assignee: "İnceleyen", nobody: "henüz kimse", you: "siz", take: "Üstlen", takeOver: "Devral", giveBack: "Geri bırak", handOver: "Devret …", handTo: "Kime",
  takenBy: "Artık {person} inceliyor.", givenBack: "Artık kimse incelemiyor.", takenMeanwhile: "Bu arada {person} üstlendi: ona sorun ya da devralın.",
  givenBackMeanwhile: "Bu arada geri bırakıldı: isterseniz üstlenin.", act_assigned: "verildi", act_given_back: "geri bırakıldı",
  signTaken: "Bu numuneyi {person} üstlendi. Yine de imzalayabilirsiniz.", noneOfThese: "Böyle bir numune yok.",
  othersDecided: "Bu arada {count} hücreye başka biri karar verdi.", sayAgain: "Tuşunuz işlenmedi: aynı fikirde değilseniz yeniden basın.",
  "worklist-text": "Bul", "worklist-textNote": "Numunenin tam adı ya da istek kimliğinin başı.", "worklist-state": "Durum",
  "worklist-state_open": "kapanmamış", "worklist-state_analysed": "imzalanacak", "worklist-state_running": "inceleniyor", "worklist-state_signed": "imzalı",
  "worklist-state_cancelled": "iptal edilmiş", "worklist-state_all": "tümü", "worklist-whose": "Kimin", "worklist-whose_anybody": "herkesin", "worklist-whose_mine": "benim",
  "worklist-whose_nobody": "kimsenin değil", "worklist-age": "Yaş", "worklist-age_any": "hepsi", "worklist-age_newer": "24 saatten yeni", "worklist-age_older": "24 saatten eski",
  "worklist-review": "yalnızca incelenecek hücresi olanlar",
  st_waiting: "bekliyor", st_running: "inceleniyor", st_analysed: "henüz imzalanmadı", st_signed: "imzalandı", st_cancelled: "iptal edildi",
  sizes: "Çap: hücre {cell}, çekirdek {nucleus}; çekirdek, hücre alanının {share} kadarıdır.",
  cellsWithPictures: "Sayılan hücreler, resimleriyle ({count})", onPaperNote: "Sayıldıkları sınıfa göre; ✓: bir kişi karar verdi. Hemen hepsinden büyük hücreler dışında tümü aynı ölçekte.",
  printComes: "Hücrelerin resimleri kâğıda yerleştiriliyor …",
  compare: "Karşılaştırma", mostAlike: "Karar verilmiş, en benzerleri", decidedAs: "Karar verilmiş: {label}", painted: "çizim", paintedCell: "{label}, çizim; fotoğraf değil",
  // The criteria of the blood film in stained light microscopy (B. J. Bain, Blood Cells, 5th ed., 2015, chapter 3; ICSH, Palmer et al., 2015).
  apart_Basophil_Eosinophil:
    "Bazofil: kaba, farklı boyda, koyu mor granüller çekirdeği örter. Eozinofil: eş boyda, yuvarlak, turuncu-kırmızı granüller sitoplazmayı doldurur; çoğu kez iki loblu çekirdek açıkta kalır.",
  apart_Basophil_Lymphocyte:
    "Bazofil: lobları belirsiz çekirdeğin üzerinde kaba, koyu mor granüller. Lenfosit: yoğun, kümeli kromatinli yuvarlak çekirdek; granülsüz ya da az sayıda ince granüllü, berrak mavi dar sitoplazma.",
  apart_Basophil_Monocyte:
    "Bazofil: kaba, koyu mor granüller çekirdeği örter. Monosit: iri; kıvrımlı çekirdek, dantelsi kromatin, toz gibi granüllü, sıklıkla vakuollü, bol gri-mavi sitoplazma.",
  apart_Basophil_Neutrophil:
    "Bazofil: çekirdeğin üzerinde de kaba, koyu mor granüller, belirsiz loblar. Nötrofil: pembe sitoplazmada ince leylak rengi granüller (toksik ise koyu ama ince), ipliklerle bağlı yoğun loblar ya da çomak.",
  apart_Eosinophil_Lymphocyte:
    "Eozinofil: sitoplazmayı dolduran kaba, eş boyda, turuncu-kırmızı granüller, çoğu kez iki loblu çekirdek. Lenfosit: kümeli kromatinli yuvarlak çekirdek, granülsüz ya da az granüllü, berrak mavi dar sitoplazma.",
  apart_Eosinophil_Monocyte:
    "Eozinofil: kaba, eş boyda, turuncu-kırmızı granüller, çoğu kez iki yoğun loblu çekirdek. Monosit: kıvrımlı çekirdek, dantelsi kromatin, toz gibi granüllü, sıklıkla vakuollü gri-mavi sitoplazma.",
  apart_Eosinophil_Neutrophil:
    "Eozinofil: kaba, eş boyda, yuvarlak, parlak turuncu-kırmızı granüller, çoğu kez iki lob. Nötrofil: pembe sitoplazmada ince leylak rengi granüller, ipliklerle bağlı iki ila beş lob ya da çomak.",
  apart_Lymphocyte_Monocyte:
    "Lenfosit: hücrenin çoğunu kaplayan, yuvarlak ya da hafif çentikli, yoğun, kümeli kromatinli çekirdek; berrak mavi sitoplazma. Monosit: daha iri; kıvrımlı çekirdek, dantelsi kromatin, daha bol, gri-mavi, tozlu, sıklıkla vakuollü sitoplazma.",
  apart_Lymphocyte_Neutrophil:
    "Lenfosit: tek, yuvarlak çekirdek; ince granülsüz, berrak mavi dar sitoplazma. Nötrofil: ipliklerle bağlı iki ila beş loblu ya da çomak çekirdek; ince leylak rengi granüllü bol pembe sitoplazma.",
  apart_Monocyte_Neutrophil:
    "Monosit: geniş, kıvrımlı çekirdek, dantelsi kromatin, sıklıkla vakuollü gri-mavi sitoplazma. Nötrofil, çomak da: yoğun, kümeli kromatinli dar çekirdek ya da loblar, ince leylak rengi granüllü pembe sitoplazma.",
};

const MESSAGES = {en: ENGLISH, tr: TURKISH};

const CLASS_NAMES = {
  en: {Unidentified: "Unidentified"},
  tr: {
    Basophil: "Bazofil", Eosinophil: "Eozinofil", Lymphocyte: "Lenfosit", Monocyte: "Monosit", Neutrophil: "Nötrofil",
    Unidentified: "Tanımlanamayan",
  },
};

// The service's sentences are English; its codes are for translating them.
const REASONS_TR = {
  too_small: "Görüntü ya da hücre çok küçük: daha yüksek büyütmeyle yeniden çekin.",
  no_cell: "Beyaz hücre bulunamadı: tek bir hücreyi ortalayıp yeniden gönderin.",
  uncertain_cell: "Bakılan şey bir beyaz hücre gibi öne çıkmıyor: beyaz hücre olup olmadığına bakın.",
  several_cells: "Görüntüde birden çok beyaz hücre var: yanıt yalnızca birine aittir ve görüntü tek hücre sayılır. Her hücreyi ayrı bir görüntüyle gönderin.",
  cut_by_frame: "Alanın kenarı bu hücreyi kesiyor: bütünüyle göründüğü bir alana bakın.",
  clump: "Burada birden çok beyaz hücre üst üste olabilir ve bir tane sayılır: gözle sayın.",
  not_wbc: "Görülen, beş sınıftan hiçbirine girmeyebilir: trombosit, ezilmiş ya da olgunlaşmamış hücre, eritroblast veya boş alan mı, bakın.",
  blurred: "Görüntü bulanık: mikroskobu netleyip yeniden çekin.",
  overexposed: "Görüntü fazla ışık almış: ışığı ya da pozlama süresini azaltın.",
  underexposed: "Görüntü az ışık almış: ışığı ya da pozlama süresini artırın.",
  out_of_distribution: "Görüntü, modelin eğitildiği görüntülere benzemiyor.",
  outside_routed_classes: "Yönlendirme, modelin gördüğü sınıfı dışarıda bıraktı.",
  low_confidence: "Model emin değil.",
  close_call: "İki sınıf birbirine çok yakın.",
  background_focus: "Karar arka plana dayanıyor olabilir: ısı haritasının çoğu hücrenin dışında.",
  not_audited_class: "Bu mikroskobun denetimi, bu sınıfta bu güvenle verilen yanıtları onaylamıyor.",
  audit_sample: "Bu mikroskobun denetimi bu yanıtı onaylıyor; yine de bir kişinin baktığı örneklerden biri.",
};

const STATEMENTS_TR = {
  cancelled: "Formül iptal edildi; eksiktir ve eksik kalacaktır.",
  incomplete: "{total} hücreden {waiting} tanesi incelenmeyi bekliyor.",
  too_few_cells: "{counted} hücre sayıldı; yüzdeler {least} hücreden itibaren verilir.",
  unreviewed: "{unreviewed} hücre bir kişinin kararını bekliyor.",
  unidentified: "{unidentified} hücre tanımlanamadı; payların bütününe dahildir.",
  failed: "{failed} görüntü incelenemedi ve sayılmadı.",
  not_told_apart: "{neutrophils} nötrofilin {rest} tanesi daha ayrıntılı ayrılmadı: {parts} payları daha büyük olabilir.",
  outside: "Beyaz hücrelerin %100'ünün dışında: {outside}.",
  uncorrected_total: "Toplam lökosit sayısı verildiği gibi alındı; çekirdekli eritrositlere göre düzeltilmedi.",
  audit_ended: "Bu formüldeki hücreleri onaylayan denetim o zamandan beri sona erdi: örnek yanıtların izin verilenden çoğu "
    + "yanlıştı. Bir kişi öteki hücrelere de baksın.",
  classifier_error: "Aralıklar, sayma hatasının yanında, bu mikroskobun denetiminin sınırladığı kadarıyla sınıflandırıcının "
    + "hatasını da taşır.",
  same_cells: "Alanlar örtüşüyor: birden çok alanda bulunan hücreler bir kez sayıldı.",
  several_models: "{models} model yanıt verdi: sürüm arada değişti.",
  no_total: "Toplam lökosit sayısı verilmedi; bu yüzden mutlak sayı yok.", unsigned: "Bu formülü kimse imzalamadı.",
  five_classes: "Beş sınıf ayırt edilir; blastlar, çomaklar, olgunlaşmamış granülositler ve başka hücreler tanınmaz ve beş "
    + "sınıftan biri olarak sayılabilir.",
};

// Where only the code is at hand.
const REASONS_EN = {
  too_small: "The image or the cell is too small.", no_cell: "No white cell was found.",
  uncertain_cell: "It is not certain that this is a white cell.",
  several_cells: "The image shows more than one white cell; the answer is for one of them.",
  cut_by_frame: "The edge of the field cuts this cell.", clump: "Several white cells may lie on each other here.",
  not_wbc: "What is shown may be none of the five classes.", blurred: "The image is blurred.",
  overexposed: "The image is overexposed.", underexposed: "The image is underexposed.",
  out_of_distribution: "The image is unlike those that the model was trained on.",
  outside_routed_classes: "Routing shut out the class that the model saw.", low_confidence: "The model is not confident.",
  close_call: "Two classes are close.", background_focus: "Most of the heatmap lies beside the cell.",
  not_audited_class: "The audit of this microscope does not release answers of this class at this confidence.",
  audit_sample: "The audit of this microscope releases this answer; it is one of the sample that a person checks all the same.",
};

const STAGES_TR = {
  decode: "çözme", preprocess: "ön işleme", quality: "kalite", predict: "tahmin", route: "karar", explain: "açıklama",
  report: "rapor", search: "arama", total: "toplam",
};

const WORDS = {
  en: [[0.95, "very high confidence"], [0.85, "high confidence"], [0.6, "moderate confidence"], [0, "low confidence"]],
  tr: [[0.95, "çok yüksek güven"], [0.85, "yüksek güven"], [0.6, "orta düzeyde güven"], [0, "düşük güven"]],
};

const ERRORS_TR = {400: "Dosya okunabilen bir görüntü değil.", 413: "Görüntü çok büyük.", 415: "Bu biçim desteklenmiyor.",
  422: "Bir seçenek geçersiz.", 500: "Model sunucusunda hata oluştu.", 401: "Giriş gerekiyor.", 409: "Bu durumda yapılamaz.",
  412: "Bu arada değişti.", 403: "Buna yetkiniz yok.",
  "field-too-small": "Bu alandaki hücreler, sınıfları ayırt edilemeyecek kadar küçük: daha yüksek büyütmeyle çekin."};

export const language = () => settings.get("language");

/** Of one only; Turkish says it as of many. */
const ENGLISH_ONE = {
  clearQuestion: "One image and its result leave this page.", orderThese: "Request a differential of this image",
  decisionsPending: "One decision is being kept …", decisionsWait: "One decision is not kept yet:",
  signUnreviewed: "One cell still waits for review.", analyseSpecimen: "Analyse one image", sending: "One image is being sent …",
  whiteCells: "One white cell found", filesTaken: "One image taken.", allDone: "One image analysed.",
};

/** The page's words: `t("progress", {done: 1, total: 5})`. */
export function t(key, values = {}) {
  const one = language() === "en" && String(values.count) === "1" ? ENGLISH_ONE[key] : null;
  const text = one ?? MESSAGES[language()][key] ?? ENGLISH[key] ?? key;
  return filledIn(text, values);
}

function filledIn(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export const keysOf = (code) => Object.keys(MESSAGES[code]);

export function className(name) {
  const own = language() === "tr" ? moreLabels().find((label) => label.name === name)?.turkish : null;
  return CLASS_NAMES[language()][name] ?? own ?? name;
}

/** The language of the page as it is written where the reader is: 23/11/2026 in Britain, 11/23/2026 in America. */
const locale = () => navigator.languages.find((one) => one.toLowerCase().startsWith(language())) ?? language();

const formats = new Map();

/** Made once for each: to make one takes longer than all that it is then asked for. */
function format(options) {
  const key = `${locale()} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(locale(), options));
  return formats.get(key);
}

export const number = (value, digits = 0) => (
  format({minimumFractionDigits: digits, maximumFractionDigits: digits}).format(value));

/** That of the reader's spreadsheet, as far as the browser knows: by its own locale, not by the page's language. */
export const decimalSeparator = () => new Intl.NumberFormat().format(1.5).includes(",") ? "comma" : "point";

/** Of a share in [0, 1]; what is not certain never reads as 100. */
export function percent(share, digits = 1) {
  const shown = share < 1 ? Math.min(share, 1 - 10 ** -(digits + 2)) : share;
  return format({style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits}).format(shown);
}

export function seconds(value) {
  return format({style: "unit", unit: "second", unitDisplay: "long"}).format(value);
}

export function dateTime(when, dateStyle = "medium") {
  return new Intl.DateTimeFormat(locale(), {dateStyle, timeStyle: "short"}).format(new Date(when));
}

export function confidenceInWords(confidence) {
  return WORDS[language()].find(([least]) => confidence >= least)[1];
}

export function reasonText({code, message}) {
  if (language() === "tr") return REASONS_TR[code] || message;
  return message === code ? REASONS_EN[code] || code : message;
}

/** What a reader of a differential must know; the service's sentence where there is no translation. */
export function statementText({code, message}, {progress, min_cells: least, counts, models}) {
  if (language() !== "tr" || !STATEMENTS_TR[code]) return message;
  const countOf = (label) => counts.find((one) => one.label === label)?.count ?? 0;
  const parts = counts.filter((one) => one.part_of === "Neutrophil");
  const neutrophils = countOf("Neutrophil");
  const told = parts.reduce((sum, one) => sum + one.count, 0);
  const numbers = {...progress, least, unidentified: countOf("Unidentified"), models: models.length, neutrophils, rest: neutrophils - told};
  return filledIn(STATEMENTS_TR[code], {
    ...Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, number(value)])),
    parts: parts.map((one) => className(one.label)).join(", "),
    outside: counts.filter((one) => (one.denominator ?? "white_cells") !== "white_cells")
      .map((one) => `${className(one.label)} ${number(one.count)}`).join(", "),
  });
}

export function actionName(action) {
  const key = `act_${action}`;
  return key in ENGLISH ? t(key) : action;
}

// What the service names in English in its documents.
const NAMES_TR = {
  local: "yerel", service: "hizmet", "rule-based": "kurallarla",
  "example ranges for adults that came with the service; not of this site":
    "hizmetle gelen, yetişkinler için örnek aralıklar; bu kuruma ait değil",
};

/** A person, a writer or a source as the service names it, in the language of the page where it is one of its own. */
export const nameOf = (name) => (language() === "tr" && NAMES_TR[name]) || name;

/** What stands on a key. */
export const keyName = (key) => (key === " " ? "␣" : key);

export function stageName(stage) {
  return (language() === "tr" && STAGES_TR[stage]) || stage;
}

export const specimenState = (state) => t(`st_${state}`);

/** What went wrong, for a person. */
export function errorText(error) {
  if (error.status === 0) return t("offline");
  if (error.status === 401) return t("noAccess");
  if (error.status === 504) return t("expired");
  if (error.status === 503 || error.status === 429) {
    return error.retryAfterS ? t("busyUntil", {seconds: seconds(error.retryAfterS)}) : t("tooBusy");
  }
  const known = language() === "tr" && (ERRORS_TR[error.kind] ?? ERRORS_TR[error.status]);
  return known ? [known, error.message].filter(Boolean).join(" ") : error.message;
}
