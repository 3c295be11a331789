// Every word of the page in both languages, and numbers and times as each writes them.

import {settings} from "./settings.js";

const ENGLISH = {
  skipToContent: "Skip to content", intendedUse: "Intended use", views: "Views", cells: "Cells", specimen: "Specimen", history: "History",
  settings: "Settings", disclaimer: "For research use only. Not for use in diagnostic procedures.",
  dropHere: "Drop images of single white blood cells here, or a zip of them; or paste one.",
  chooseFiles: "Choose files", trySamples: "Try five samples", whatIsTaken:
    "JPEG, PNG, BMP, TIFF, WebP or DICOM, up to 10 MB each. File names stay in this browser.",
  badZip: "“{name}” is no zip archive that can be read.", noImages: "There was no image in it.",
  filesTaken: "{count} images taken.", progress: "{done} of {total} done",
  busy: "The service is busy. It is asked again in {seconds}.",
  cancelAll: "Cancel all", retryFailed: "Try {count} again", clear: "Clear", allDone: "{count} images analysed.",
  waiting: "Waiting", notAnalysed: "Not analysed", noCellsYet: "No images yet.",
  chooseCell: "Choose a cell to see its heatmap, its probabilities and its report.",
  state_waiting: "waits", state_running: "is analysed", state_failed: "failed", state_cancelled: "cancelled",
  review: "review", cancelOne: "Cancel {name}", retryOne: "Try {name} again",
  class: "Class", probability: "Probability", probabilities: "Calibrated probabilities",
  reviewNeeded: "A person should look at this cell", noReview: "Nothing speaks for a second look.",
  imageNotKept: "The image itself was not kept.", report: "Report", writtenBy: "Written by: {writer}",
  noReport: "No report was asked for.", reportComes: "The report is being written …",
  reportIsThere: "The report is there.", reportFailed: "The report could not be had; the result stands without it.",
  facts: "Figures, model and timings", focusRatio: "Focus ratio (heatmap on the cell)", focusVerdict: "Focus",
  focus_sound: "sound", focus_doubtful: "doubtful", focus_background: "on the background",
  focusShares: "Heatmap by region", nucleus: "nucleus", cytoplasm: "cytoplasm", background: "background",
  views_: "Views averaged", model: "Model", modelHash: "SHA-256 of the model", unknown: "unknown",
  profile: "Profile", imageSize: "Image", requestId: "Request", timings: "Time of each step", step: "Step",
  imageOfCell: "The image of the cell", viewerHelp:
    "Image with heatmap. Plus and minus zoom, arrow keys move, Escape shows all.",
  opacity: "Heatmap opacity", colourMap: "Colours", outlines: "Outlines", zoomIn: "Zoom in", zoomOut: "Zoom out",
  zoomReset: "Whole image", cold: "no weight", hot: "most weight", legendLabel: "Colours from no weight to most weight",
  noHeatmap: "The model server sent no heatmap.",
  storedSpecimens: "Specimens that the service keeps", thisBrowser: "Cells seen in this browser", historyNote:
    "Results and small pictures, in this browser alone. Whole images and reports are not kept.",
  forgetAll: "Forget all", nothingYet: "Nothing yet.", specimenId: "Specimen", state: "State", created: "Created",
  noSpecimens: "No specimens yet.", storeIsOff:
    "The service keeps no specimens: whoever runs it can switch that on by WBC_STORE__URL.",
  access: "Access", apiKey: "API key, if the service asks for one",
  apiKeyNote: "Kept until this tab is closed, and sent to this service alone.",
  noAccess: "The service asks who you are: give a key under Settings.", appearance: "Appearance", setting_language: "Language", setting_theme: "Colours of the page",
  setting_palette: "Colours of the classes", themeSystem: "As the system", themeLight: "Light", themeDark: "Dark",
  paletteStandard: "Standard", paletteColourBlind: "For colour blindness (Okabe and Ito)", analysis: "Analysis",
  setting_profile: "Device profile", profileDefault: "The service's default", setting_tta: "Test-time augmentation",
  ttaProfile: "As the profile says", ttaNone: "One view", ttaAdaptive: "One view, eight where unclear", ttaLight: "Eight views",
  reportSetting: "Write a report when a cell is opened", keepHistory: "Keep results in this browser",
  keys: "Keys for reviewing", keysNote: "Click into a field and press the key that you want.",
  key_next: "Next cell", key_previous: "Previous cell", key_accept: "Accept", key_undo: "Undo", key_sign: "Sign",
  resetSettings: "All as it was at first", offline: "The service cannot be reached. Is it running?",
  notReady: "The model is not ready yet; the page goes on when it is.", staysHere:
    "Images go to this service and no further. Reports are written on it by rules.",
  leaves: "Images go to this service and no further. Figures of a result, never its image, go to {writers} for the report.",
  expired: "It took too long.", tooBusy: "The service is too busy. Try again in a while.",
  specimenTitle: "Differential of a specimen", order: "Order", totalWbc: "White cell count (10⁹/L), if measured",
  analyseSpecimen: "Analyse {count} images", specimenNeedsId: "Give the specimen a name.",
  chosenImages: "{count} images chosen", count: "Count", percentage: "%", interval: "95 % interval", absolute: "10⁹/L",
  reference: "Reference", flag: "Flag", low: "low", high: "high", unidentified: "Unidentified",
  reviewList: "To review ({count})", reviewDone: "Nothing waits for review.", accept: "Accept", undo: "Undo", sign: "Sign",
  signQuestion: "Afterwards nothing can be changed.", cancelSpecimen: "Cancel",
  counted: "{counted} counted, {waiting} waiting, {failed} failed", minCells:
    "Fewer than {count} cells: no percentages are given.", labelShift: "Estimate corrected for label shift",
  export: "Export", print: "Print", trail: "Audit trail", signedBy: "Signed by {person}, {when}",
  cellNumber: "Cell {number}", reclassified: "{label} (was {before})", acceptedAs: "Accepted: {label}",
  reviewHelp: "{next} next, {previous} previous, {accept} accept, {labels} reclassify, {undo} undo, {sign} sign",
  newOrder: "Order a differential", decide: "Decide", limitations: "What to know before using these figures",
  signTitle: "Sign this differential?", no: "Not yet", state_done: "analysed", notThere: "There is no such specimen.", closed: "It is closed: nothing changes any more.",
  st_waiting: "waiting", st_running: "running", st_analysed: "to be reviewed", st_signed: "signed", st_cancelled: "cancelled",
};

const TURKISH = {
  skipToContent: "İçeriğe geç", intendedUse: "Kullanım amacı", views: "Görünümler", cells: "Hücreler", specimen: "Örnek", history: "Geçmiş",
  settings: "Ayarlar", disclaimer: "Yalnızca araştırma amaçlıdır. Tanı işlemlerinde kullanılamaz.",
  dropHere: "Tek beyaz kan hücresi görüntülerini ya da bir zip dosyasını buraya bırakın veya bir görüntü yapıştırın.",
  chooseFiles: "Dosya seç", trySamples: "Beş örneği dene", whatIsTaken:
    "JPEG, PNG, BMP, TIFF, WebP ya da DICOM, her biri en çok 10 MB. Dosya adları bu tarayıcıda kalır.",
  badZip: "“{name}” okunabilen bir zip arşivi değil.", noImages: "İçinde görüntü yok.",
  filesTaken: "{count} görüntü alındı.", progress: "{total} görüntünün {done} tanesi bitti",
  busy: "Hizmet meşgul. {seconds} sonra yeniden sorulacak.",
  cancelAll: "Tümünü iptal et", retryFailed: "{count} tanesini yeniden dene", clear: "Temizle",
  allDone: "{count} görüntü incelendi.", waiting: "Bekleyen", notAnalysed: "İncelenmeyen", noCellsYet: "Henüz görüntü yok.",
  chooseCell: "Isı haritasını, olasılıklarını ve raporunu görmek için bir hücre seçin.",
  state_waiting: "bekliyor", state_running: "inceleniyor", state_failed: "başarısız", state_cancelled: "iptal edildi",
  review: "gözden geçir", cancelOne: "{name}: iptal et", retryOne: "{name}: yeniden dene",
  class: "Sınıf", probability: "Olasılık", probabilities: "Kalibre edilmiş olasılıklar",
  reviewNeeded: "Bu hücreye bir kişi bakmalı", noReview: "İkinci bir bakış gerektiren bir şey yok.",
  imageNotKept: "Görüntünün kendisi saklanmadı.", report: "Rapor", writtenBy: "Yazan: {writer}",
  noReport: "Rapor istenmedi.", reportComes: "Rapor yazılıyor …", reportIsThere: "Rapor hazır.",
  reportFailed: "Rapor alınamadı; sonuç onsuz geçerlidir.",
  facts: "Sayılar, model ve süreler", focusRatio: "Odak oranı (ısı haritasının hücredeki payı)", focusVerdict: "Odak",
  focus_sound: "sağlam", focus_doubtful: "şüpheli", focus_background: "arka planda",
  focusShares: "Bölgelere göre ısı haritası", nucleus: "çekirdek", cytoplasm: "sitoplazma", background: "arka plan",
  views_: "Ortalaması alınan görünüm", model: "Model", modelHash: "Modelin SHA-256 özeti", unknown: "bilinmiyor",
  profile: "Profil", imageSize: "Görüntü", requestId: "İstek", timings: "Adımların süresi", step: "Adım",
  imageOfCell: "Hücrenin görüntüsü", viewerHelp:
    "Isı haritalı görüntü. Artı ve eksi yakınlaştırır, ok tuşları kaydırır, Escape tümünü gösterir.",
  opacity: "Isı haritasının opaklığı", colourMap: "Renkler", outlines: "Sınırlar", zoomIn: "Yakınlaştır", zoomOut: "Uzaklaştır",
  zoomReset: "Tüm görüntü", cold: "ağırlık yok", hot: "en çok ağırlık", legendLabel: "En az ağırlıktan en çok ağırlığa renkler",
  noHeatmap: "Model sunucusu ısı haritası göndermedi.",
  storedSpecimens: "Hizmetin sakladığı örnekler", thisBrowser: "Bu tarayıcıda görülen hücreler", historyNote:
    "Yalnızca bu tarayıcıda, sonuçlar ve küçük resimler. Görüntülerin kendisi ve raporlar saklanmaz.",
  forgetAll: "Tümünü unut", nothingYet: "Henüz bir şey yok.", specimenId: "Örnek", state: "Durum", created: "Oluşturuldu",
  noSpecimens: "Henüz örnek yok.", storeIsOff: "Hizmet örnek saklamıyor: çalıştıran kişi WBC_STORE__URL ile açabilir.",
  access: "Erişim", apiKey: "API anahtarı, hizmet isterse",
  apiKeyNote: "Bu sekme kapanana dek tutulur, yalnızca bu hizmete gönderilir.",
  noAccess: "Hizmet kim olduğunuzu soruyor: Ayarlar altında bir anahtar verin.", appearance: "Görünüş", setting_language: "Dil", setting_theme: "Sayfanın renkleri", setting_palette: "Sınıfların renkleri",
  themeSystem: "Sistemdeki gibi", themeLight: "Açık", themeDark: "Koyu", paletteStandard: "Standart",
  paletteColourBlind: "Renk körlüğü için (Okabe ve Ito)", analysis: "İnceleme", setting_profile: "Cihaz profili",
  profileDefault: "Hizmetin varsayılanı", setting_tta: "Test zamanı çoğaltma", ttaProfile: "Profildeki gibi",
  ttaNone: "Tek görünüm", ttaAdaptive: "Tek görünüm, belirsizse sekiz", ttaLight: "Sekiz görünüm",
  reportSetting: "Hücre açılınca rapor yaz", keepHistory: "Sonuçları bu tarayıcıda sakla",
  keys: "Gözden geçirme tuşları", keysNote: "Bir alana tıklayın ve istediğiniz tuşa basın.",
  key_next: "Sonraki hücre", key_previous: "Önceki hücre", key_accept: "Kabul et", key_undo: "Geri al", key_sign: "İmzala",
  resetSettings: "Hepsini ilk haline getir", offline: "Hizmete ulaşılamıyor. Çalışıyor mu?",
  notReady: "Model henüz hazır değil; hazır olunca sayfa sürer.", staysHere:
    "Görüntüler bu hizmete gider, öteye geçmez. Raporları hizmetin kendisi kurallarla yazar.",
  leaves: "Görüntüler bu hizmete gider, öteye geçmez. Rapor için sonucun sayıları {writers} hizmetine gider, görüntü asla.",
  expired: "Çok uzun sürdü.", tooBusy: "Hizmet çok meşgul. Bir süre sonra yeniden deneyin.",
  specimenTitle: "Bir örneğin diferansiyel sayımı", order: "Sipariş", totalWbc: "Lökosit sayısı (10⁹/L), ölçüldüyse",
  analyseSpecimen: "{count} görüntüyü incele", specimenNeedsId: "Örneğe bir ad verin.",
  chosenImages: "{count} görüntü seçildi", count: "Sayı", percentage: "%", interval: "%95 aralığı", absolute: "10⁹/L",
  reference: "Referans", flag: "İşaret", low: "düşük", high: "yüksek", unidentified: "Tanımlanamayan",
  reviewList: "Gözden geçirilecek ({count})", reviewDone: "Gözden geçirilecek hücre kalmadı.", accept: "Kabul et",
  undo: "Geri al", sign: "İmzala", signQuestion: "Sonra hiçbir şey değiştirilemez.",
  cancelSpecimen: "İptal et", counted: "{counted} sayıldı, {waiting} bekliyor, {failed} başarısız",
  minCells: "{count} hücreden az: yüzde verilmez.", labelShift: "Sınıf kaymasına göre düzeltilmiş tahmin",
  export: "Dışa aktar", print: "Yazdır", trail: "Denetim izi", signedBy: "İmzalayan: {person}, {when}",
  cellNumber: "Hücre {number}", reclassified: "{label} (önce: {before})", acceptedAs: "Kabul edildi: {label}",
  reviewHelp: "{next} sonraki, {previous} önceki, {accept} kabul, {labels} yeniden sınıfla, {undo} geri al, {sign} imzala",
  newOrder: "Diferansiyel sipariş et", decide: "Karar ver", limitations: "Bu sayıları kullanmadan önce bilinmesi gerekenler",
  signTitle: "Bu diferansiyel imzalansın mı?", no: "Henüz değil", state_done: "incelendi", notThere: "Böyle bir örnek yok.", closed: "Kapandı: artık hiçbir şey değişmez.",
  st_waiting: "bekliyor", st_running: "sürüyor", st_analysed: "gözden geçirilecek", st_signed: "imzalandı", st_cancelled: "iptal edildi",
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
  blurred: "Görüntü bulanık: mikroskobu netleyip yeniden çekin.",
  overexposed: "Görüntü fazla ışık almış: ışığı ya da pozlama süresini azaltın.",
  underexposed: "Görüntü az ışık almış: ışığı ya da pozlama süresini artırın.",
  out_of_distribution: "Görüntü, modelin eğitildiği görüntülere benzemiyor.",
  outside_routed_classes: "Yönlendirme, modelin gördüğü sınıfı dışarıda bıraktı.",
  low_confidence: "Model emin değil.",
  close_call: "İki sınıf birbirine çok yakın.",
  background_focus: "Karar arka plana dayanıyor olabilir: ısı haritasının çoğu hücrenin dışında.",
};

const STATEMENTS_TR = {
  cancelled: "Diferansiyel iptal edildi; eksiktir ve eksik kalacaktır.", incomplete: "İncelenmeyi bekleyen hücreler var.",
  too_few_cells: "Yüzde vermek için yeterli hücre yok.", unreviewed: "Bir kişinin kararını bekleyen hücreler var.",
  unidentified: "Tanımlanamayan hücreler var; payların bütününe dahildir.",
  failed: "Bazı görüntüler incelenemedi ve sayılmadı.", several_models: "Birden çok model yanıt verdi: sürüm arada değişti.",
  no_total: "Toplam lökosit sayısı verilmedi; bu yüzden mutlak sayı yok.", unsigned: "Bu diferansiyeli kimse imzalamadı.",
  five_classes: "Beş sınıf ayırt edilir; blastlar, çomaklar, olgunlaşmamış granülositler ve başka hücreler tanınmaz ve beş "
    + "sınıftan biri olarak sayılabilir.",
};

// Where only the code is at hand.
const REASONS_EN = {
  too_small: "The image or the cell is too small.", no_cell: "No white cell was found.", blurred: "The image is blurred.",
  overexposed: "The image is overexposed.", underexposed: "The image is underexposed.",
  out_of_distribution: "The image is unlike those that the model was trained on.",
  outside_routed_classes: "Routing shut out the class that the model saw.", low_confidence: "The model is not confident.",
  close_call: "Two classes are close.", background_focus: "Most of the heatmap lies beside the cell.",
};

const STAGES_TR = {
  decode: "çözme", preprocess: "ön işleme", quality: "kalite", predict: "tahmin", route: "karar", explain: "açıklama",
  report: "rapor", total: "toplam",
};

const WORDS = {
  en: [[0.95, "very high confidence"], [0.85, "high confidence"], [0.6, "moderate confidence"], [0, "low confidence"]],
  tr: [[0.95, "çok yüksek güven"], [0.85, "yüksek güven"], [0.6, "orta düzeyde güven"], [0, "düşük güven"]],
};

const ERRORS_TR = {400: "Dosya okunabilen bir görüntü değil.", 413: "Görüntü çok büyük.", 415: "Bu biçim desteklenmiyor.",
  422: "Bir seçenek geçersiz.", 500: "Model sunucusunda hata oluştu.", 401: "Giriş gerekiyor.", 403: "Buna yetkiniz yok."};

export const language = () => settings.get("language");

/** The page's words: `t("progress", {done: 1, total: 5})`. */
export function t(key, values = {}) {
  const text = MESSAGES[language()][key] ?? ENGLISH[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export const keysOf = (code) => Object.keys(MESSAGES[code]);

export function className(name) {
  return CLASS_NAMES[language()][name] ?? name;
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(language(), {minimumFractionDigits: digits, maximumFractionDigits: digits}).format(value);
}

/** Of a share in [0, 1]; what is not certain never reads as 100. */
export function percent(share, digits = 1) {
  const shown = share < 1 ? Math.min(share, 1 - 10 ** -(digits + 2)) : share;
  return new Intl.NumberFormat(language(), {
    style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits,
  }).format(shown);
}

export function seconds(value) {
  return new Intl.NumberFormat(language(), {style: "unit", unit: "second", unitDisplay: "long"}).format(value);
}

export function dateTime(when) {
  return new Intl.DateTimeFormat(language(), {dateStyle: "medium", timeStyle: "short"}).format(new Date(when));
}

export function confidenceInWords(confidence) {
  return WORDS[language()].find(([least]) => confidence >= least)[1];
}

export function reasonText({code, message}) {
  if (language() === "tr") return REASONS_TR[code] || message;
  return message === code ? REASONS_EN[code] || code : message;
}

/** What a reader of a differential must know; the service's sentence where there is no translation. */
export function statementText({code, message}) {
  return (language() === "tr" && STATEMENTS_TR[code]) || message;
}

export function stageName(stage) {
  return (language() === "tr" && STAGES_TR[stage]) || stage;
}

export const specimenState = (state) => t(`st_${state}`);

/** What went wrong, for a person. */
export function errorText(error) {
  if (error.status === 0) return t("offline");
  if (error.status === 401) return t("noAccess");
  if (error.status === 504) return t("expired");
  if (error.status === 503 || error.status === 429) return t("tooBusy");
  return (language() === "tr" && ERRORS_TR[error.status]) || error.message;
}
